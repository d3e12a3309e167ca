//! Cost of reading each payload back before it is stored, compared with the same codec without the check.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::{Codec, Json, Kinds, Postcard, Unchecked};
use eventsrc_core::{SaveApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::future::try_join_all;
use tokio::runtime::{Builder, Runtime};

use crate::Benchmark;
use crate::account::{self, AccountEvent};
use crate::append::save_on;
use crate::measure::counted::{self, region};
use crate::measure::paired::{self, Paired};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "read-back",
    about: "encoded payloads read back before they are stored, compared with no check",
    run,
    child,
};

const EVENTS: usize = 10_000;
const EVENTS_PER_COMMIT: usize = 10;

fn run(directory: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, side) in [("JSON", "json"), ("JSON by kinds", "kinds"), ("postcard", "postcard")] {
        let count = |check: &str| {
            let total = counted::instructions(BENCHMARK.name, &[side, check])?;
            Ok::<_, anyhow::Error>(total as f64 / EVENTS as f64)
        };
        let name = format!("encode {name} and read it back, against encoding alone");
        rows.push(Row::new(name, "instructions/event", count("checked")?, count("unchecked")?));
    }
    let folder = tempfile::tempdir_in(directory)?;
    for writers in [1, 64] {
        let who = if writers == 1 { "one writer".to_owned() } else { format!("{writers} writers") };
        let paired = appends(folder.path(), writers)?;
        let commands = writers as f64;
        let row = Row::new(
            format!("append, {who}, read back, against no check"),
            "commands/s",
            commands / paired.ours,
            commands / paired.reference,
        );
        rows.push(row.by_pairs(paired.speed).bar(Bar::AtLeast(0.90)));
    }
    Ok(rows)
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, check] = arguments else { bail!("expected a side and a check") };
    match (side, check) {
        ("json", "checked") => encode(&Json),
        ("json", "unchecked") => encode(&Unchecked(Json)),
        ("kinds", "checked") => encode(&Kinds::new()),
        ("kinds", "unchecked") => encode(&Unchecked(Kinds::new())),
        ("postcard", "checked") => encode(&Postcard),
        ("postcard", "unchecked") => encode(&Unchecked(Postcard)),
        _ => bail!("unknown side {side}, {check}"),
    }
}

fn encode<C: Codec<AccountEvent>>(codec: &C) -> Result<()> {
    let commits: Vec<_> = account::commits(EVENTS, EVENTS_PER_COMMIT).collect();
    region(|| {
        for commit in &commits {
            match EncodedPayloads::encode(codec, &commit.payloads) {
                Ok(encoded) => drop(std::hint::black_box(encoded)),
                Err((_, error)) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

/// Compares writers that each save to their own stream in SQLite, with and without the check.
fn appends(folder: &Path, writers: u64) -> Result<Paired> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let open = |name| runtime.block_on(Database::open(folder.join(format!("{name}-{writers}.db"))));
    let (checked, unchecked) = (open("checked")?, open("unchecked")?);
    let checked = Arc::new(SaveApi::new(SqliteStorage::new(&checked)));
    let unchecked = Arc::new(SaveApi::new(SqliteStorage::with_codec(&unchecked, Unchecked(Json))));
    paired::compare(
        |units| all_write(&runtime, &checked, writers, units),
        |units| all_write(&runtime, &unchecked, writers, units),
    )
}

type Saves<C> = Arc<SaveApi<SqliteStorage<StreamName, u64, AccountEvent, C>>>;

/// Each writer saves `units` commands.
fn all_write<C: Codec<AccountEvent>>(
    runtime: &Runtime,
    saves: &Saves<C>,
    writers: u64,
    units: u64,
) -> Result<()> {
    runtime.block_on(async {
        let writers = (0..writers).map(|writer| {
            let saves = Arc::clone(saves);
            tokio::spawn(async move {
                let key = StreamName::new("account", &writer.to_string())?;
                save_on(&saves, &key, units).await
            })
        });
        try_join_all(writers).await?.into_iter().collect()
    })
}
