//! A fold of a stream in memory, compared with a hand-written loop with the same `match`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, Consistency, EventStorage, MemoryStorage, Query, QueryApi, StreamName};
use futures::FutureExt;

use crate::Benchmark;
use crate::account::{self, Account, AccountEvent, Statement};
use crate::measure::counted::{self, region};
use crate::measure::paired;
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "fold",
    about: "a fold of a stream in memory, compared with a hand-written loop",
    run,
    child,
};

/// Number of events, large enough to hide the fixed cost of a fold.
const EVENTS: usize = 50_000;

fn run(_: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in [10, 1] {
        let count = |side: &str| {
            let total = counted::instructions(BENCHMARK.name, &[side, &size.to_string()])?;
            Ok::<_, anyhow::Error>(total as f64 / EVENTS as f64)
        };
        let ours = count("ours")?;
        let named = |against| format!("fold, {size} a commit, against {against}");
        let row = |against, reference| Row::new(named(against), "instructions/event", ours, reference);
        rows.push(row("a loop over the commits", count("commits")?).bar(Bar::AtMost(1.10)));
        rows.push(row("a loop over a bare Vec of events", count("events")?));

        // The same commits, so that both sides read the same memory.
        let commits = commits(size);
        let api = storage(&commits)?;
        let units = |units: u64, fold: &dyn Fn() -> Option<Account>| {
            (0..units).for_each(|_| _ = black_box(fold()));
            Ok(())
        };
        let paired = paired::compare(
            |n| units(n, &|| ours_once(&api)),
            |n| units(n, &|| loop_over_commits(black_box(&commits))),
        )?;
        let nanoseconds = |seconds| seconds * 1e9 / EVENTS as f64;
        rows.push(
            Row::new(
                format!("time of a fold, {size} a commit, against a loop over the commits"),
                "ns/event",
                nanoseconds(paired.ours),
                nanoseconds(paired.reference),
            )
            .by_pairs(paired.speed.inverse()),
        );
    }
    Ok(rows)
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, size] = arguments else { bail!("expected a side and a size") };
    let size = size.parse()?;
    let value = match side {
        "ours" => {
            let api = storage(&commits(size))?;
            region(|| ours_once(&api))
        }
        "commits" => {
            let commits = commits(size);
            region(|| loop_over_commits(black_box(&commits)))
        }
        "events" => {
            let events: Vec<_> = account::events(EVENTS).collect();
            region(|| loop_over_events(black_box(&events)))
        }
        _ => bail!("unknown side {side}"),
    };
    // All sides must return the same value.
    let expected = loop_over_events(&account::events(EVENTS).collect::<Vec<_>>());
    if value != expected || value.is_none() {
        bail!("{side} returned {value:?} instead of {expected:?}");
    }
    Ok(())
}

type Api = QueryApi<MemoryStorage<StreamName, u64, AccountEvent>, Statement>;

type Commits = [Arc<Commit<StreamName, u64, AccountEvent>>];

fn storage(commits: &Commits) -> Result<Api> {
    let storage = MemoryStorage::default();
    for commit in commits {
        let Put::Stored = storage.put(Arc::clone(commit)).now_or_never().expect("memory answers at once")?
        else {
            bail!("the stream has one writer")
        };
    }
    Ok(QueryApi::new(storage, Statement))
}

fn commits(size: usize) -> Vec<Arc<Commit<StreamName, u64, AccountEvent>>> {
    account::commits(EVENTS, size).collect()
}

fn ours_once(api: &Api) -> Option<Account> {
    let get = api.get(&account::key(), Consistency::LatestEvent).now_or_never();
    get.expect("memory answers at once").expect("memory does not fail")
}

#[inline(never)]
fn loop_over_commits(commits: &Commits) -> Option<Account> {
    let mut account = None;
    for commit in commits {
        for event in &commit.payloads {
            account::apply(&mut account, event);
        }
    }
    account
}

#[inline(never)]
fn loop_over_events(events: &[AccountEvent]) -> Option<Account> {
    let mut account = None;
    for event in events {
        account::apply(&mut account, event);
    }
    account
}
