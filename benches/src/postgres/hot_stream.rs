//! Puts that meet at one sequence of one stream: their cost is linear in their number.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use eventsrc_core::commit::vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, CommitId, EventStorage, Metadata, StreamName, Timestamp};
use eventsrc_postgres::{Postgres, PostgresStorage};
use futures::future::join_all;
use uuid::Uuid;

use super::Bench;
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "postgres-hot-stream",
    about: "Postgres: 4,000 puts at one sequence compared with 500, and the transactions that they take",
    run,
    child: no_child,
};

const FEW: u64 = 500;
const MANY: u64 = 4_000;
const PAIRS: usize = 10;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let url = bench.database("hot");
    let postgres = bench.runtime.block_on(Postgres::connect(&url))?;
    let storage = Arc::new(PostgresStorage::new(&postgres));
    let mut streams = 0;
    let mut meet = |puts| {
        streams += 1;
        let (storage, key) = (Arc::clone(&storage), StreamName::new("hot", &streams.to_string())?);
        bench.task(async move { meet(storage, key, puts).await })
    };
    let few = std::cell::RefCell::new(&mut meet);
    let paired = paired::compare_whole(PAIRS, || few.borrow_mut()(MANY), || few.borrow_mut()(FEW))?;
    let before = postgres.disk_commits();
    meet(MANY)?;
    let disk_commits = postgres.disk_commits() - before;
    let microseconds = |seconds: f64, puts: u64| seconds * 1e6 / puts as f64;
    Ok(vec![
        Row::new(
            format!("Postgres, {MANY} puts at one sequence, against {FEW}"),
            "µs/put",
            microseconds(paired.ours, MANY),
            microseconds(paired.reference, FEW),
        )
        .by_pairs(paired.speed.times(MANY as f64 / FEW as f64).inverse())
        .bar(Bar::AtMost(1.5)),
        Row::new(format!("Postgres, {MANY} puts at one sequence"), "disk commits", disk_commits as f64, 1.0)
            .bar(Bar::AtMost(1.0)),
    ])
}

type Storage = PostgresStorage<StreamName, u64, i64>;

/// Puts commits at the first sequence of a stream at once, of which one is stored, and returns the duration.
async fn meet(storage: Arc<Storage>, key: StreamName, puts: u64) -> Result<Duration> {
    let commits: Vec<_> = (0..puts).map(|number| commit(&key, number)).collect();
    let calls = commits.into_iter().map(|commit| storage.put(commit));
    let (duration, answers) = crate::measure::paired::time(join_all(calls)).await;
    let mut stored = 0;
    for answer in answers {
        match answer? {
            Put::Stored => stored += 1,
            Put::Conflict(conflict) => ensure!(conflict.existing.is_some(), "a conflict has no commit"),
            Put::Repeated { .. } => {}
        }
    }
    ensure!(stored == 1, "{stored} of {puts} puts at one sequence are stored");
    Ok(duration)
}

fn commit(key: &StreamName, number: u64) -> Arc<Commit<StreamName, u64, i64>> {
    Arc::new(Commit {
        key: key.clone(),
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(u128::from(number) + 1))),
        payloads: vec1![7].into(),
    })
}
