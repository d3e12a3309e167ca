//! The whole path of an event, from DynamoDB through Kinesis into Postgres, compared with the slowest server alone.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{Operation, Outcome, SaveApi, StreamName, Synchronizer, ViewDefinition};
use eventsrc_dynamo::ItemDecoder;
use eventsrc_kinesis::dynamodb::{DynamoStream, StreamRecords};
use eventsrc_kinesis::{Consumer, ConsumerSettings, forward};
use eventsrc_postgres::{Postgres, PostgresView, Transaction, View};
use futures::future::try_join_all;

use super::alone::{self, WRITERS};
use super::{Bench, Stream, every, reads, until};
use crate::dynamo::{self, Database, EVENTS, Storage, Transfer, key};
use crate::measure::paired;
use crate::postgres::{self, totals};
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "whole-path",
    about: "from DynamoDB through Kinesis into Postgres, compared with the slowest server alone",
    run,
    child: no_child,
};

/// Number of commits, of one event each.
const COUNT: u64 = 8_000;
const PAIRS: usize = 3;
/// Poll interval of both streams, as AWS allows.
const WAIT: Duration = Duration::from_millis(200);

fn run(_: &Path) -> Result<Vec<Row>> {
    let servers = Servers {
        dynamo: dynamo::Bench::start()?,
        kinesis: Bench::start()?,
        postgres: postgres::Bench::start()?,
        databases: Mutex::default(),
    };
    // A warm-up, because the servers are slow at first.
    servers.whole()?;
    servers.alone()?;
    let mut alone: [Vec<f64>; SERVERS.len()] = Default::default();
    let paired = paired::compare_whole(
        PAIRS,
        || servers.whole(),
        || {
            let times = servers.alone()?;
            for (times, time) in alone.iter_mut().zip(times) {
                times.push(time.as_secs_f64());
            }
            times.into_iter().max().context("there are servers")
        },
    )?;
    let whole = COUNT as f64 / paired.ours;
    let medians = alone.map(|times| paired::percentile(times, 50));
    let slowest = medians.iter().zip(SERVERS).max_by(|one, other| one.0.total_cmp(other.0));
    let (_, slowest) = slowest.context("there are no servers")?;
    let name = format!("whole path, against the slowest server alone: {slowest}");
    let judged = Row::new(name, "events/s", whole, COUNT as f64 / paired.reference);
    let others = medians.into_iter().zip(SERVERS).filter(|(_, name)| *name != slowest);
    let others = others.map(|(time, name)| {
        let name = format!("whole path, against {name} alone");
        Row::new(name, "events/s", whole, COUNT as f64 / time)
    });
    Ok([judged.by_pairs(paired.speed).bar(Bar::AtLeast(0.8))].into_iter().chain(others).collect())
}

const SERVERS: [&str; 5] = [
    "PutItem into a streamed table",
    "GetRecords of the table's stream",
    "PutRecords of 500",
    "GetRecords of Kinesis",
    "Postgres transactions of 500",
];

struct Servers {
    dynamo: dynamo::Bench,
    kinesis: Bench,
    postgres: postgres::Bench,
    /// Number of databases that were created.
    databases: Mutex<u32>,
}

impl Servers {
    /// Returns the time that each server takes for its part, in the order of [`SERVERS`].
    fn alone(&self) -> Result<[Duration; SERVERS.len()]> {
        let (database, stream) = (self.dynamo.database(), self.kinesis.stream(1)?);
        let client = self.postgres.client(&self.postgres_database())?;
        self.dynamo.runtime.block_on(async {
            Ok([
                alone::put_items(&database, COUNT).await?,
                alone::get_changes(&database, COUNT).await?,
                alone::put_records(&stream, COUNT).await?,
                alone::get_records(&stream, COUNT).await?,
                alone::add_up(client, COUNT).await?,
            ])
        })
    }

    /// Returns the time from the first command until the last event is in the view.
    fn whole(&self) -> Result<Duration> {
        let (database, stream) = (self.dynamo.database(), self.kinesis.stream(1)?);
        let url = self.postgres_database();
        let client = self.postgres.client(&url)?;
        self.dynamo.runtime.block_on(whole(&database, &stream, &url, client))
    }

    /// Creates a database, and returns its URL.
    fn postgres_database(&self) -> String {
        let mut databases = self.databases.lock().expect("no other thread has panicked");
        *databases += 1;
        self.postgres.database(&format!("path{databases}"))
    }
}

async fn whole(
    database: &Database,
    stream: &Stream,
    url: &str,
    client: tokio_postgres::Client,
) -> Result<Duration> {
    let storage = Storage::new(&database.tables().await?);
    let changes = DynamoStream::of_table(alone::streams(database), EVENTS).await?.polled(every(WAIT));
    let decoder = StreamRecords::new(ItemDecoder::<StreamName, u64, Transfer>::new());
    let changes =
        Consumer::start(changes, MemoryLeases::default(), decoder, ConsumerSettings::default()).await?;
    let records = stream.consumer(MemoryLeases::default(), every(WAIT)).await?;
    let handles = [changes.handle(), records.handle()];
    let publisher = stream.publisher(true);
    let bridge = tokio::spawn(async move {
        forward(changes, &publisher, &BackoffSettings::default(), &SystemClock, &Randomness::from_system())
            .await
    });
    let view = PostgresView::open(&Postgres::connect(url).await?, Accounts).await?;
    // The view is updated by the bus alone.
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(storage.clone(), view, settings);
    let following = synchronizer.clone();
    let follower = tokio::spawn(async move { following.follow(records).await });
    for handle in &handles {
        reads(handle, 1).await?;
    }

    let work = async {
        save_all(storage).await?;
        until(async || Ok(applied(&client).await? >= COUNT as i64)).await
    };
    let (time, done) = paired::time(work).await;
    done?;
    handles.iter().for_each(|handle| handle.drain());
    bridge.await??;
    follower.await??;
    synchronizer.stop().await;
    ensure!(applied(&client).await? == COUNT as i64, "events were applied twice");
    Ok(time)
}

/// Saves commands from several tasks, one after the other in each task.
async fn save_all(storage: Storage) -> Result<()> {
    let saves = Arc::new(SaveApi::new(storage));
    let writers = (0..WRITERS).map(|writer| {
        let saves = Arc::clone(&saves);
        tokio::spawn(async move {
            for number in 1..=COUNT / WRITERS {
                let operation = Operation::<_, PreconditionFailed>::insert(Transfer::new(number));
                let saved = saves.save(&key(writer), operation).await?;
                ensure!(matches!(saved, Outcome::Saved(_)), "a save returned {saved:?}");
            }
            Ok(())
        })
    });
    let writers: Vec<_> = writers.collect();
    try_join_all(writers).await?.into_iter().collect()
}

/// Returns the number of events that the view has applied.
async fn applied(client: &tokio_postgres::Client) -> Result<i64> {
    let sum = "SELECT coalesce(sum(deposits), 0)::bigint FROM totals_v1";
    Ok(client.query_one(sum, &[]).await?.get(0))
}

/// The view of the totals of accounts. It uses the same statement as the program without eventsrc.
struct Accounts;

impl View<StreamName, u64, Transfer> for Accounts {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("totals", ["account"]).expect("the name is well-formed")
    }

    fn tables(&self) -> &[&str] {
        &["totals"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute(&totals::table("totals_v1")).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, Transfer>,
    ) -> Result<(), ViewError> {
        let add = transaction.prepare_cached(&totals::add_all("totals_v1")).await?;
        let (ids, amounts): (Vec<&str>, Vec<i64>) =
            batch.events().map(|event| (event.key().id(), event.payload.amount)).unzip();
        transaction.execute(&add, &[&ids, &amounts]).await?;
        Ok(())
    }
}
