//! The number of writes of leases and checkpoints.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::StorageError;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::feed::ChangeFeed as _;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use eventsrc_kinesis::PollingSettings;
use eventsrc_postgres::{Postgres, PostgresLeases};
use tokio_postgres::Client;

use super::{Bench, Feed, Stream, change, reads, until};
use crate::postgres;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "kinesis-leases",
    about: "Kinesis: writes of leases and checkpoints under load",
    run,
    child: no_child,
};

const SHARDS: u64 = 4;
const DURATION: Duration = Duration::from_secs(25);
/// Half of the capacity of four Kinesis shards, in twenty calls a second.
const RECORDS_PER_CALL: u64 = 100;
const BETWEEN_CALLS: Duration = Duration::from_millis(50);

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let stream = bench.stream(SHARDS as i32)?;
    let server = postgres::Bench::start()?;
    let url = server.database("leases");
    let leases = bench.runtime.block_on(async {
        let leases = PostgresLeases::new(&Postgres::connect(&url).await?, "bench");
        anyhow::Ok(Arc::new(Counting { leases, writes: AtomicU64::default() }))
    })?;
    let time = bench.runtime.block_on(work(&stream, &leases))?;
    let writes = leases.writes.load(Ordering::Relaxed);
    drop(leases);
    let rows = server.runtime.block_on(rows(server.client(&url)?))?;
    let row = |what: &str, count: u64| {
        let rate = count as f64 / time.as_secs_f64() / SHARDS as f64;
        let name = format!("Kinesis leases and checkpoints, {what}, against one");
        Row::new(name, "writes/second/shard", rate, 1.0).bar(Bar::AtMost(1.0))
    };
    Ok(vec![row("where each lease is a row of its own", writes), row("rows in Postgres", rows)])
}

/// Reads what is put, from the first read of the leases until their release, and returns the duration.
async fn work(stream: &Stream, leases: &Arc<Counting>) -> Result<Duration> {
    let start = SystemClock.elapsed();
    let feed = stream.consumer(Arc::clone(leases), PollingSettings::default()).await?;
    let handle = feed.handle();
    let reader = tokio::spawn(read(feed));
    reads(&handle, SHARDS as usize).await?;
    let publisher = stream.publisher(false);
    let mut put = 0;
    while SystemClock.elapsed() - start < DURATION {
        let changes = (put + 1..=put + RECORDS_PER_CALL).map(change).collect::<Result<Vec<_>>>()?;
        publisher.publish(&changes).await?;
        put += RECORDS_PER_CALL;
        SystemClock.sleep(BETWEEN_CALLS).await;
    }
    until(async || Ok(handle.status().records == put)).await?;
    handle.drain();
    ensure!(reader.await?? == put, "the consumer has not delivered all records");
    let leases = leases.leases().await?;
    let have_checkpoints = leases.iter().all(|lease| matches!(lease.checkpoint, Checkpoint::After(_)));
    ensure!(have_checkpoints && leases.len() as u64 == SHARDS, "checkpoints are missing: {leases:?}");
    Ok(SystemClock.elapsed() - start)
}

/// Acknowledges each delivery immediately, and returns the number of changes.
async fn read(mut feed: Feed) -> Result<u64> {
    let mut changes = 0;
    while let Some(delivery) = feed.next().await? {
        changes += delivery.changes.len() as u64;
        delivery.acknowledgement.acknowledge();
    }
    Ok(changes)
}

/// Returns the number of rows that were written to the tables of leases, as the server counts them after the writers have
/// disconnected.
async fn rows(client: Client) -> Result<u64> {
    until(async || {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        Ok(client.query_one(others, &[]).await?.get::<_, i64>(0) == 0)
    })
    .await
    .context("other connections stay open")?;
    let counted = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables
                   WHERE relname IN ('shard_workers', 'shard_leases')";
    let rows: i64 = client.query_one(counted, &[]).await?.get(0);
    ensure!(rows > 0, "the server has counted no rows");
    Ok(rows as u64)
}

/// Leases in Postgres that count the writes of each lease: the writes of a store with one row per lease.
struct Counting {
    leases: PostgresLeases,
    writes: AtomicU64,
}

impl Counting {
    fn count(&self, leases: usize) {
        self.writes.fetch_add(leases as u64, Ordering::Relaxed);
    }
}

impl LeaseStore for Counting {
    async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        self.leases.leases().await
    }

    async fn create(&self, leases: &[NewLease]) -> Result<(), StorageError> {
        self.count(leases.len());
        self.leases.create(leases).await
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        self.count(1);
        self.leases.take(lease, worker).await
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        self.count(1);
        self.leases.claim(lease, worker).await
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        self.count(held.len());
        self.leases.renew(worker, held).await
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Result<bool, StorageError> {
        self.count(1);
        self.leases.release(worker, lease).await
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        self.count(shards.len());
        self.leases.remove(shards).await
    }
}
