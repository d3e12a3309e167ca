//! Workers that are killed at random moments.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::{Clock, Randomness, Synchronizer, SynchronizerSettings, SystemClock};
use futures::future::try_join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::process::{Child, Command};

use super::worker::{self, Events, Job, Target};
use super::{Entries, Filler, Ledger};

/// What came of the kills of workers.
#[derive(Debug, Default)]
pub struct ViewKills {
    /// How many processes were killed.
    pub kills: u64,
    /// How many kills came after some, and before all, of what there was to apply was applied.
    pub in_the_middle: u64,
    /// Commits stored, each to be applied once.
    pub stored: u64,
    /// What was wrong, in words.
    pub violations: Vec<String>,
}

/// The longest that a process lives; it takes a part of that to start.
const LONGEST: Duration = Duration::from_millis(250);

/// How many workers are at it at the same time.
const WORKERS: u64 = 2;

/// Kills `program`, which is `ledger-worker`, with SIGKILL at `kills` random moments while it keeps the ledger in `target`, and
/// compares that with the fold from time to time.
///
/// # Errors
///
/// If the program cannot be run, or the ledger not be read.
pub async fn kill_workers(program: &Path, target: &Target, kills: u64, seed: u64) -> Result<ViewKills> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events.db");
    let storage = worker::events(&path).await?;
    match target {
        Target::Sqlite(file) => {
            let view = worker::sqlite_ledger(file, 1).await?;
            run(program, &path, &storage, target, &view, kills, seed).await
        }
        Target::Postgres(url) => {
            let view = worker::postgres_ledger(url, 1).await?;
            run(program, &path, &storage, target, &view, kills, seed).await
        }
    }
}

async fn run<V: Ledger>(
    program: &Path,
    path: &Path,
    storage: &Events,
    target: &Target,
    view: &V,
    kills: u64,
    seed: u64,
) -> Result<ViewKills> {
    let randomness = Randomness::seeded(seed);
    let mut came = ViewKills::default();
    let mut filler = Filler::new(50, StdRng::seed_from_u64(seed));
    let mut applied = 0;
    while came.kills < kills {
        filler.add(storage, 600).await?;
        let workers = (0..WORKERS).map(|worker| {
            let moment = randomness.up_to(LONGEST);
            let seed = seed.wrapping_add(came.kills * WORKERS + worker);
            async move {
                let mut process = spawn(program, path, target, Job::Keep, seed)?;
                tokio::select! {
                    status = process.wait() => bail!("a worker ended by itself: {}", status?),
                    () = SystemClock.sleep(moment) => Ok(process.kill().await?),
                }
            }
        });
        try_join_all(workers).await?;
        came.kills += WORKERS;
        let (found, expected) = (view.read_ledger().await?, Entries::of(storage).await?);
        came.in_the_middle += if (applied + 1..expected.len()).contains(&found.len()) { WORKERS } else { 0 };
        applied = found.len();
        if came.kills % 20 == 0 || came.kills >= kills {
            came.violations.extend(settled(storage, view, seed, came.kills).await?);
            applied = expected.len();
        }
        came.stored = expected.len() as u64;
    }
    Ok(came)
}

/// What is wrong with a ledger once what is missing was repaired.
pub(super) async fn settled<V: Ledger>(
    storage: &Events,
    view: &V,
    seed: u64,
    kills: u64,
) -> Result<Vec<String>> {
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(storage.clone(), view.clone(), settings);
    synchronizer.sweep().await?;
    synchronizer.stop().await;
    let (found, expected) = (view.read_ledger().await?, Entries::of(storage).await?);
    let quarantined = view.quarantined().await?;
    let poison =
        quarantined.iter().map(|poison| format!("{} is in quarantine: {}", poison.stream, poison.error));
    let wrong = found.wrong(&expected).into_iter().chain(poison);
    Ok(wrong.map(|wrong| format!("seed {seed}, kill {kills}: {wrong}")).collect())
}

/// Starts a worker.
pub(super) fn spawn(program: &Path, storage: &Path, target: &Target, job: Job, seed: u64) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg(storage).arg(target.text()).arg(job.text()).arg(seed.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}
