//! A view in Postgres that catches up, compared with set-wise SQL by hand and with one event per transaction.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{MemoryStorage, StreamName, Synchronizer};
use eventsrc_postgres::{Postgres, PostgresView};

use super::Bench;
use super::totals::{ByHand, EVENTS_PER_BATCH, Pages, Totals, page};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "catch-up",
    about: "a view in Postgres, events into 1,000 rows exactly once, compared with SQL by hand",
    run,
    child: no_child,
};

type TotalsSynchronizer = Synchronizer<Arc<PostgresView<StreamName, u64, i64, Totals>>>;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let mut ours = Ours::start(&bench, "ours", false)?;
    let url = bench.database("by_hand");
    let mut rows = bench.runtime.block_on(ByHand::create(bench.client(&url)?))?;
    let mut pages = 0;
    let mut by_hand = |units| {
        (0..units).try_for_each(|_| {
            pages += 1;
            bench.runtime.block_on(rows.apply_all(&page(pages - 1)))
        })
    };
    let set_wise = paired::compare(|units| ours.apply(&bench, units), &mut by_hand)?;

    // A unit of the other side is one event.
    let url = bench.database("one_by_one");
    let mut naive = bench.runtime.block_on(ByHand::create(bench.client(&url)?))?;
    let deposits = page(0);
    let mut one_by_one = |events: u64| {
        (0..events).try_for_each(|event| {
            bench.runtime.block_on(naive.apply_one(&deposits[(event % EVENTS_PER_BATCH) as usize]))
        })
    };
    let batched = paired::compare(|units| ours.apply(&bench, units), &mut one_by_one)?;
    let mut each = Ours::start(&bench, "each", true)?;
    let each_event = paired::compare(|units| each.apply(&bench, units), &mut one_by_one)?;

    let counting = bench.client(&bench.database("counting"))?;
    let (commits, batches) = (bench.commits(&counting)?, ours.batches(&bench)?);
    ours.apply(&bench, 100)?;
    let commits = (bench.commits(&counting)? - commits) as f64;
    let batches = (ours.batches(&bench)? - batches) as f64;
    ensure!(
        ours.pages * EVENTS_PER_BATCH == ours.events(&bench)?,
        "not every event was applied exactly once"
    );

    let events = EVENTS_PER_BATCH as f64;
    let row = |name, paired: &paired::Paired, reference: f64| {
        Row::new(name, "events/s", events / paired.ours, reference).by_pairs(paired.speed)
    };
    let times = |paired: &paired::Paired| paired::Paired { speed: paired.speed.times(events), ..*paired };
    Ok(vec![
        row("catch-up in Postgres, against set-wise SQL by hand", &set_wise, events / set_wise.reference)
            .bar(Bar::AtLeast(0.8)),
        row(
            "catch-up in Postgres, against one event a transaction",
            &times(&batched),
            1.0 / batched.reference,
        )
        .bar(Bar::AtLeast(60.0)),
        row(
            "catch-up with a handler for each event, against one a transaction",
            &times(&each_event),
            1.0 / each_event.reference,
        )
        .bar(Bar::AtLeast(15.0)),
        Row::new("catch-up in Postgres", "disk commits/batch", commits / batches, 1.0).bar(Bar::AtMost(1.1)),
    ])
}

/// A view that eventsrc keeps up to date.
struct Ours {
    synchronizer: TotalsSynchronizer,
    pages: u64,
}

impl Ours {
    fn start(bench: &Bench, name: &str, each: bool) -> Result<Self> {
        let url = bench.database(name);
        bench.runtime.block_on(async {
            let postgres = Postgres::connect(&url).await?;
            let view = Arc::new(PostgresView::open(&postgres, Totals { each, version: 1 }).await?);
            // The feed delivers everything, so the storage can be empty.
            let storage = Arc::new(MemoryStorage::<StreamName, u64, i64>::default());
            let settings = SynchronizerSettings {
                workers: 1,
                events_per_batch: EVENTS_PER_BATCH as usize,
                sweep_every: None,
                ..SynchronizerSettings::default()
            };
            Ok(Self { synchronizer: Synchronizer::start(storage, view, settings), pages: 0 })
        })
    }

    fn apply(&mut self, bench: &Bench, units: u64) -> Result<()> {
        let pages: Vec<_> = (self.pages..self.pages + units).map(page).collect();
        self.pages += units;
        Ok(bench.runtime.block_on(self.synchronizer.follow(Pages(pages.into_iter())))?)
    }

    fn batches(&self, bench: &Bench) -> Result<u64> {
        Ok(bench.runtime.block_on(self.synchronizer.status())?.applied_batches)
    }

    fn events(&self, bench: &Bench) -> Result<u64> {
        let read = self.synchronizer.view().read(&[], |transaction| async move {
            let row = transaction.query_one("SELECT sum(deposits)::bigint FROM totals", &[]).await?;
            Ok(row.get::<_, i64>(0))
        });
        Ok(bench.runtime.block_on(read)?.1 as u64)
    }
}
