//! A fold of a stream in a file, compared with a hand-written select, decode and loop; and its memory.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, Consistency, EventStorage, Query, QueryApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::{Builder, Runtime};

use crate::Benchmark;
use crate::account::{self, Account, AccountEvent, Statement};
use crate::bare::{Bare, BareRow};
use crate::measure::{paired, peak};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "load",
    about: "SQLite: a fold compared with a hand-written select and decode, and its memory for streams of two lengths",
    run,
    child,
};

/// Events in one commit.
const SIZE: usize = 10;
const EVENTS: usize = 10_000;
const STREAM: &str = "account/DE89370400440532013000";
/// Number of concurrent puts while a stream is stored. They are queued in order and share syncs.
const AHEAD: usize = 500;

fn run(directory: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(directory)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let path = |name: &str| folder.path().join(name);

    let storage = store(&runtime, &path("ours.db"), EVENTS)?;
    let api = QueryApi::new(storage, Statement);
    let mut bare = Bare::create(&path("bare.db"))?;
    let rows = account::commits(EVENTS, SIZE).map(|commit| {
        Ok(BareRow {
            stream: STREAM,
            number: commit.first,
            payload: serde_json::to_string(&commit.payloads[..])?,
        })
    });
    bare.insert(rows.collect::<Result<Vec<_>>>()?)?;
    let expected = expected(EVENTS);
    let paired = paired::compare(
        |folds| (0..folds).try_for_each(|_| check(runtime.block_on(get(&api))?, expected)),
        |folds| {
            (0..folds).try_for_each(|_| {
                let mut account = None;
                bare.visit(STREAM, |payload| {
                    let events: Vec<AccountEvent> = serde_json::from_str(payload)?;
                    events.iter().for_each(|event| account::apply(&mut account, event));
                    Ok(())
                })?;
                check(account, expected)
            })
        },
    )?;
    let nanoseconds = |seconds| seconds * 1e9 / EVENTS as f64;
    let speed = Row::new(
        format!("load and fold, {SIZE} a commit, against select, decode and loop"),
        "ns/event",
        nanoseconds(paired.ours),
        nanoseconds(paired.reference),
    )
    .by_pairs(paired.speed.inverse());

    let peak = |events: usize| {
        let file = path(&format!("{events}.db"));
        drop(store(&runtime, &file, events)?);
        let file = file.to_str().context("the path is not UTF-8")?;
        Ok::<_, anyhow::Error>(peak::of_child(BENCHMARK.name, &[file, &events.to_string()])? as f64 / 1e6)
    };
    // The short streams are longer than a page. The shortest one does not fill the page caches of all readers.
    let (long, short, shortest) = (peak(100 * EVENTS)?, peak(10 * EVENTS)?, peak(EVENTS)?);
    let memory = |events, than| {
        Row::new(
            format!("memory of a fold of 1,000,000 events, against {events}"),
            "MB at the peak",
            long,
            than,
        )
    };
    Ok(vec![speed, memory("100,000", short).bar(Bar::AtMost(1.25)), memory("10,000", shortest)])
}

/// Folds the stream of a file, and prints the peak memory.
fn child(arguments: &[&str]) -> Result<()> {
    let &[path, events] = arguments else { bail!("expected a file and a number of events") };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let database = runtime.block_on(Database::open(path))?;
    let api = QueryApi::new(SqliteStorage::new(&database), Statement);
    let account = runtime.block_on(get(&api))?;
    println!("{}", peak::of_this_process()?);
    check(account, expected(events.parse()?))
}

type Storage = SqliteStorage<StreamName, u64, AccountEvent>;

fn store(runtime: &Runtime, path: &Path, events: usize) -> Result<Storage> {
    runtime.block_on(async {
        let database = Database::open(path).await?;
        let storage = Storage::new(&database);
        let puts = stream::iter(account::commits(events, SIZE)).map(|commit| put(&storage, commit));
        puts.buffered(AHEAD).try_for_each(async |()| Ok(())).await?;
        Ok(storage)
    })
}

async fn put(storage: &Storage, commit: Arc<Commit<StreamName, u64, AccountEvent>>) -> Result<()> {
    match storage.put(commit).await? {
        Put::Stored => Ok(()),
        other => bail!("a put to a stream with one writer returned {other:?}"),
    }
}

async fn get(api: &QueryApi<Storage, Statement>) -> Result<Option<Account>> {
    Ok(api.get(&account::key(), Consistency::LatestEvent).await?)
}

fn expected(events: usize) -> Option<Account> {
    let mut account = None;
    account::events(events).for_each(|event| account::apply(&mut account, &event));
    account
}

fn check(account: Option<Account>, expected: Option<Account>) -> Result<()> {
    if account != expected || account.is_none() {
        bail!("the fold returned {account:?} instead of {expected:?}");
    }
    Ok(())
}
