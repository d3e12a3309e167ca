//! 64 concurrent writers that share disk commits, compared with one writer.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::{SaveApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::future::try_join_all;
use tokio::runtime::Builder;

use crate::append::{bare_row, save};
use crate::bare::Bare;
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "writers",
    about: "SQLite, 64 writers: disk commits a command, and speed compared with one writer",
    run,
    child: no_child,
};

const WRITERS: u64 = 64;

fn run(directory: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(directory)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let open = |name| runtime.block_on(Database::open(folder.path().join(name)));
    let (shared, alone) = (open("shared.db")?, open("alone.db")?);
    let saves_of = |database| Arc::new(SaveApi::new(SqliteStorage::new(database)));
    let (many, one) = (saves_of(&shared), saves_of(&alone));
    let mut bare = Bare::create(&folder.path().join("bare.db"))?;
    let keys: Vec<_> = (0..WRITERS).map(key).collect();
    let mut number = 0;

    // A unit is one command of each writer.
    let mut rounds = 0;
    let mut all_write = |units| {
        rounds += units;
        runtime.block_on(async {
            let writers = (0..WRITERS).map(|writer| {
                let saves = Arc::clone(&many);
                tokio::spawn(async move { save(&saves, &key(writer), units).await })
            });
            try_join_all(writers).await?.into_iter().collect()
        })
    };
    let against_one =
        paired::compare(&mut all_write, |commands| runtime.block_on(save(&one, &key(0), commands)))?;
    let against_bare = paired::compare(&mut all_write, |units| {
        (0..units).try_for_each(|_| {
            number += 1;
            let rows = keys.iter().map(|key| bare_row(key.as_str(), number));
            bare.insert(rows.collect::<Result<Vec<_>>>()?)
        })
    })?;

    let commands = WRITERS as f64;
    let disk_commits = shared.disk_commits() as f64 / (rounds as f64 * commands);
    Ok(vec![
        Row::new("append, 64 writers, against one commit each", "disk commits/command", disk_commits, 1.0)
            .bar(Bar::AtMost(0.10)),
        Row::new(
            "append, 64 writers, against one writer",
            "commands/s",
            commands / against_one.ours,
            1.0 / against_one.reference,
        )
        .by_pairs(against_one.speed.times(commands))
        .bar(Bar::AtLeast(10.0)),
        Row::new(
            "append, 64 writers, against bare rusqlite, 64 rows a transaction",
            "commands/s",
            commands / against_bare.ours,
            commands / against_bare.reference,
        )
        .by_pairs(against_bare.speed),
    ])
}

fn key(writer: u64) -> StreamName {
    StreamName::new("account", &writer.to_string()).expect("the name is well-formed")
}
