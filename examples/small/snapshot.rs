//! A snapshot of a long stream: the fold begins at the last snapshot instead of the first event.
//!
//! `cargo run --example snapshot`

use anyhow::{Result, ensure};
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::Context;
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::{Consistency, Event, Operation, Query, QueryApi, SaveApi, StreamName, fold_fn};
use eventsrc_sqlite::{Database, SqliteSnapshots, SqliteStorage};
use std::sync::Arc;

pub(crate) async fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let database = Database::open(directory.path().join("meter.db")).await?;
    let storage: SqliteStorage<StreamName, u64, u64> = SqliteStorage::new(&database);
    let storage = Arc::new(CountingStorage::new(storage));

    let meter: StreamName = "meter/kitchen".parse()?;
    let saves = SaveApi::new(Arc::clone(&storage));
    for hour in 0..600 {
        // Forty readings an hour, in one commit.
        let readings: Vec<_> = (0..40).map(|minute| Operation::insert(hour * 40 + minute)).collect();
        let saved = saves.save_all(&meter, &Context::default(), &readings).await?;
        ensure!(saved.saved().is_some(), "no other writer");
    }

    let sum = fold_fn(|_, sum: &mut Option<u64>, event: Event<'_, StreamName, u64, u64>| {
        *sum.get_or_insert(0) += event.payload;
    });
    let snapshots = SqliteSnapshots::new(&database, "sum");
    let sums = QueryApi::new(Arc::clone(&storage), sum).with_snapshots(snapshots, SnapshotPolicy::Every(100));

    storage.take();
    let first = sums.get(&meter, Consistency::LatestEvent).await?;
    let cold = storage.take().pages;
    // The snapshot is stored while the answer is on its way.
    sums.flush().await;
    let second = sums.get(&meter, Consistency::LatestEvent).await?;
    let warm = storage.take().pages;
    println!("the sum is {first:?}: {cold} pages were read for it at first, and {warm} with the snapshot");
    ensure!(first == second && first == Some((0..24_000).sum()), "the answer is the same with a snapshot");
    ensure!(warm < cold, "the snapshot saves reads");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    run().await
}
