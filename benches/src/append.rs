//! One writer, who waits for each command to be on the disk, beside bare rusqlite.

use std::path::Path;

use anyhow::{Result, bail};
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::{EventStorage, Operation, Outcome, SaveApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use tokio::runtime::{Builder, Runtime};

use crate::account::{self, AccountEvent};
use crate::bare::{Bare, BareRow};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "append",
    about: "SQLite, one writer: synced commits a second, beside bare rusqlite",
    run,
    child: no_child,
};

fn run(directory: &Path) -> Result<Vec<Row>> {
    let place = tempfile::tempdir_in(directory)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let saves = saves(&runtime, &place.path().join("ours.db"))?;
    let key = account::key();
    let mut bare = Bare::create(&place.path().join("bare.db"))?;
    let mut number = 0;
    let paired = paired::compare(
        |commands| runtime.block_on(save(&saves, &key, commands)),
        |commands| {
            (0..commands).try_for_each(|_| {
                number += 1;
                bare.insert([bare_row(key.as_str(), number)?])
            })
        },
    )?;
    Ok(vec![
        Row::new("append, one writer", "synced commits/s", 1.0 / paired.ours, 1.0 / paired.reference)
            .by_pairs(paired.speed)
            .bar(Bar::AtLeast(0.90)),
    ])
}

pub(crate) type Saves = SaveApi<SqliteStorage<StreamName, u64, AccountEvent>>;

pub(crate) fn saves(runtime: &Runtime, path: &Path) -> Result<Saves> {
    let database = runtime.block_on(Database::open(path))?;
    Ok(SaveApi::new(SqliteStorage::new(&database)))
}

/// Saves one event after the other, each in a command of its own.
pub(crate) async fn save(saves: &Saves, key: &StreamName, commands: u64) -> Result<()> {
    save_on(saves, key, commands).await
}

/// The same on any storage.
pub(crate) async fn save_on<St>(saves: &SaveApi<St>, key: &StreamName, commands: u64) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = AccountEvent>,
{
    for _ in 0..commands {
        let Outcome::<PreconditionFailed, u64>::Saved(_) =
            saves.save(key, Operation::insert(event())).await?
        else {
            bail!("a stream with one writer was saved to, and it was not stored");
        };
    }
    Ok(())
}

/// The same event for a program without eventsrc.
pub(crate) fn bare_row(stream: &str, number: u64) -> Result<BareRow<'_>> {
    Ok(BareRow { stream, number, payload: serde_json::to_string(&event())? })
}

/// What is saved: an event of average size.
pub(crate) fn event() -> AccountEvent {
    account::events(2).last().expect("there are two")
}
