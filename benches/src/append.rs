//! One writer that waits until each command is on the disk, compared with bare rusqlite.

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
    about: "SQLite, one writer: synced commits a second, compared with bare rusqlite",
    run,
    child: no_child,
};

fn run(directory: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(directory)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let saves = saves(&runtime, &folder.path().join("ours.db"))?;
    let key = account::key();
    let mut bare = Bare::create(&folder.path().join("bare.db"))?;
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

/// Saves events one after the other, each in its own command.
pub(crate) async fn save(saves: &Saves, key: &StreamName, commands: u64) -> Result<()> {
    save_on(saves, key, commands).await
}

/// Saves events to any storage in the same way.
pub(crate) async fn save_on<St>(saves: &SaveApi<St>, key: &StreamName, commands: u64) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = AccountEvent>,
{
    for _ in 0..commands {
        let Outcome::<PreconditionFailed, u64>::Saved(_) =
            saves.save(key, Operation::insert(event())).await?
        else {
            bail!("a save to a stream with one writer was not stored");
        };
    }
    Ok(())
}

/// Row with the same event, for a program without eventsrc.
pub(crate) fn bare_row(stream: &str, number: u64) -> Result<BareRow<'_>> {
    Ok(BareRow { stream, number, payload: serde_json::to_string(&event())? })
}

/// Event of average size that is saved.
pub(crate) fn event() -> AccountEvent {
    account::events(2).last().expect("there are two events")
}
