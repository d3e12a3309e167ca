//! The storage goes back to an earlier state while writers still know the later one, as after the restore of a backup. No
//! save on such knowledge is stored on top of the restored history.

mod plan;
mod scene;
mod stores;
mod swapped;
mod writers;

use anyhow::{Context as _, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::runs::{Findings, Trial};
use plan::Plan;
use scene::play;
use stores::{DynamoTables, MemoryStore, OpenSqliteFile, PostgresSchema, Restorable, SqliteFile};

/// Maximum number of streams that are restored together, with one save on old knowledge each.
const STREAMS: u64 = 100;

/// A backend, and its share of the saves in percent. The requests of DynamoDB take far longer on this machine.
const BACKENDS: [(&str, u64); 5] =
    [("memory", 35), ("SQLite", 20), ("SQLite without a restart", 20), ("Postgres", 20), ("DynamoDB", 5)];

pub(crate) async fn all_backends(trial: Trial) -> Result<Findings> {
    let mut found = Findings::default();
    let (mut diverged, mut notes) = (0, Vec::new());
    for (index, (backend, share)) in BACKENDS.into_iter().enumerate() {
        let saves = (trial.attempts * share).div_ceil(100);
        let (mut rounds, mut made) = (0, 0);
        while made < saves {
            let seed = trial.seed ^ (rounds << 8 | index as u64) << 40;
            let streams = STREAMS.min(saves - made);
            let played = match backend {
                "memory" => restore::<MemoryStore>(streams, seed).await,
                "SQLite" => restore::<SqliteFile>(streams, seed).await,
                "SQLite without a restart" => restore::<OpenSqliteFile>(streams, seed).await,
                "Postgres" => restore::<PostgresSchema>(streams, seed).await,
                _ => restore::<DynamoTables>(streams, seed).await,
            };
            let (refused, wrong) = played.with_context(|| format!("in {backend}, round {rounds}"))?;
            found.violations.extend(wrong.into_iter().map(|wrong| format!("{backend}: {wrong}")));
            diverged += refused;
            made += streams;
            rounds += 1;
        }
        found.attempted += made;
        notes.push(format!("{rounds} of {backend}"));
    }
    found.note = format!("{diverged} saves refused as diverged, restores: {}", notes.join(", "));
    Ok(found)
}

/// Restores a storage with `streams` streams once. Returns the number of saves that were refused, and the violations.
async fn restore<R: Restorable>(streams: u64, seed: u64) -> Result<(u64, Vec<String>)> {
    let mut store = R::new().await?;
    let mut draws = StdRng::seed_from_u64(seed);
    let plans = (0..streams).map(|number| Plan::draw(number, &mut draws)).collect();
    play(&mut store, plans, seed).await
}
