//! A new view built from all events, compared with the same SQL by hand over two connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use eventsrc_core::rebuild::{Rebuild, RebuildSettings};
use eventsrc_core::storage::Put;
use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use eventsrc_postgres::{Postgres, PostgresView};
use futures::future::try_join_all;
use tokio::runtime::Builder;

use super::Bench;
use super::generated::Generated;
use super::totals::{ACCOUNTS, ByHand, Deposit, EVENTS_PER_BATCH, Totals, page};
use crate::Benchmark;
use crate::measure::{paired, peak};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "rebuild",
    about: "a new view in Postgres built from 500,000 events, compared with the same SQL by hand",
    run,
    child,
};

const PAGES: u64 = 10;
const CONNECTIONS: usize = 2;
const EVENTS_PER_TRANSACTION: usize = 50_000;

/// Required events per second, if the server can take them.
const REQUIRED: f64 = 250_000.0;

/// Number of pairs.
const PAIRS: usize = 5;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let storage = Arc::new(MemoryStorage::<StreamName, u64, i64>::default());
    let pages: Vec<_> = (0..PAGES).map(page).collect();
    bench.runtime.block_on(async {
        for commit in pages.iter().flatten() {
            ensure!(
                matches!(storage.put(Arc::clone(commit)).await?, Put::Stored),
                "a commit to an empty storage conflicts"
            );
        }
        Ok(())
    })?;
    // Each connection has its own accounts, so that no two wait for each other.
    let parts: Vec<Vec<Arc<Deposit>>> = (0..CONNECTIONS)
        .map(|part| {
            let all = pages.iter().flatten().enumerate();
            all.filter(|(number, _)| number % CONNECTIONS == part)
                .map(|(_, commit)| Arc::clone(commit))
                .collect()
        })
        .collect();
    let paired = paired::compare_whole(PAIRS, || rebuild(&bench, &storage), || by_hand(&bench, &parts))?;
    let events = (PAGES * EVENTS_PER_BATCH) as f64;
    let (ours, limit) = (events / paired.ours, events / paired.reference);
    let required = REQUIRED.min(limit * 0.9);
    let peak = |deposits: u64| -> Result<f64> {
        let url = bench.database("memory");
        Ok(peak::of_child(BENCHMARK.name, &[&url, &deposits.to_string()])? as f64 / 1e6)
    };
    Ok(vec![
        Row::new("rebuild into Postgres, against 250,000 events/s", "events/s", ours, required)
            .bar(Bar::AtLeast(1.0)),
        Row::new("rebuild into Postgres, against the same SQL by hand", "events/s", ours, limit)
            .by_pairs(paired.speed),
        Row::new(
            "memory of a rebuild of 5,000,000 events, against 1,000,000",
            "MB at the peak",
            peak(5_000)?,
            peak(1_000)?,
        )
        .bar(Bar::AtMost(1.25)),
    ])
}

/// Builds a view from generated deposits, and prints the peak memory.
fn child(arguments: &[&str]) -> Result<()> {
    let &[url, deposits] = arguments else { bail!("expected a database and a number") };
    let storage = Arc::new(Generated { deposits: deposits.parse()? });
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let postgres = Postgres::connect(url).await?;
        let view = Arc::new(PostgresView::open(&postgres, Totals { each: false, version: 1 }).await?);
        let rebuilt = Rebuild::new(Arc::clone(&storage), view).run(|_| {}).await?;
        ensure!(
            rebuilt.applied_events == ACCOUNTS * storage.deposits,
            "not every event was applied exactly once"
        );
        anyhow::Ok(())
    })?;
    println!("{}", peak::of_this_process()?);
    Ok(())
}

fn rebuild(bench: &Bench, storage: &Arc<MemoryStorage<StreamName, u64, i64>>) -> Result<Duration> {
    let url = bench.database("rebuild");
    bench.runtime.block_on(async {
        let postgres = Postgres::connect(&url).await?;
        let view = Arc::new(PostgresView::open(&postgres, Totals { each: false, version: 1 }).await?);
        let mut settings = RebuildSettings::default();
        settings.synchronizer.workers = CONNECTIONS;
        settings.synchronizer.events_per_batch = EVENTS_PER_TRANSACTION;
        let rebuild = Rebuild::new(Arc::clone(storage), view).with(settings);
        let (time, rebuilt) = paired::time(rebuild.run(|_| {})).await;
        ensure!(
            rebuilt?.applied_events == PAGES * EVENTS_PER_BATCH,
            "not every event was applied exactly once"
        );
        Ok(time)
    })
}

fn by_hand(bench: &Bench, parts: &[Vec<Arc<Deposit>>]) -> Result<Duration> {
    let url = bench.database("by_hand");
    let mut sides = vec![bench.runtime.block_on(ByHand::create(bench.client(&url)?))?];
    for _ in 1..parts.len() {
        sides.push(
            bench.runtime.block_on(ByHand::another(bench.client(&url)?, &format!("part_{}", sides.len())))?,
        );
    }
    bench.runtime.block_on(async {
        let writing = sides.iter_mut().zip(parts).map(|(side, part)| async move {
            for batch in part.chunks(EVENTS_PER_TRANSACTION) {
                side.apply_all(batch).await?;
            }
            anyhow::Ok(())
        });
        let (time, done) = paired::time(try_join_all(writing)).await;
        done?;
        Ok(time)
    })
}
