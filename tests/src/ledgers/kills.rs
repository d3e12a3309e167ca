//! Workers that are killed at random moments.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::synchronizer::SynchronizerSettings;
use futures::future::{BoxFuture, try_join_all};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::worker::{self, Events, Job, Target};
use super::{Entries, Filler, Ledger};

/// Result of the kills of workers.
#[derive(Debug, Default)]
pub struct ViewKills {
    /// Number of killed processes.
    pub kills: u64,
    /// Number of kills after some, but not all, of the stored commits were applied.
    pub in_the_middle: u64,
    /// Number of stored commits, each to be applied once.
    pub stored: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Longest life of a process after it is ready.
const LONGEST: Duration = Duration::from_millis(100);

/// Number of concurrent workers.
const WORKERS: u64 = 2;

/// Number of kills for each ledger before it is compared.
const KILLS_PER_LEDGER: u64 = 20;

/// Kills `program`, which is `ledger-worker`, with SIGKILL at `kills` random moments while it keeps the ledger in
/// a `target`, up to 20 times for each ledger. Then compares the ledger with the fold.
///
/// # Errors
///
/// If the program cannot be run, or the ledger cannot be read.
pub async fn kill_workers(
    program: &Path,
    target: impl Fn(u64) -> BoxFuture<'static, Result<Target>>,
    kills: u64,
    seed: u64,
) -> Result<ViewKills> {
    let randomness = Randomness::seeded(seed);
    let mut came = ViewKills::default();
    for round in 0.. {
        if came.kills >= kills {
            break;
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("events.db");
        let storage = worker::events(&path).await?;
        let target = target(round).await?;
        let seed = seed.wrapping_add(round * KILLS_PER_LEDGER);
        let killed = KilledWorkers { program, path: &path, storage: &storage, target: &target, seed };
        match &target {
            Target::Sqlite(file) => {
                killed.run(&worker::sqlite_ledger(file, 1).await?, &randomness, &mut came).await?;
            }
            Target::Postgres(url) => {
                killed.run(&worker::postgres_ledger(url, 1).await?, &randomness, &mut came).await?;
            }
        }
    }
    Ok(came)
}

struct KilledWorkers<'a> {
    program: &'a Path,
    path: &'a Path,
    storage: &'a Events,
    target: &'a Target,
    seed: u64,
}

impl KilledWorkers<'_> {
    async fn run<V: Ledger>(&self, view: &V, randomness: &Randomness, came: &mut ViewKills) -> Result<()> {
        let mut filler = Filler::new(50, StdRng::seed_from_u64(self.seed));
        let mut applied = 0;
        for pair in 0..KILLS_PER_LEDGER / WORKERS {
            filler.add(self.storage, 600).await?;
            let lives = (0..WORKERS).map(|worker| {
                let moment = randomness.up_to(LONGEST);
                self.live(self.seed.wrapping_add(pair * WORKERS + worker), moment)
            });
            try_join_all(lives).await?;
            came.kills += WORKERS;
            let stored = Entries::of(self.storage).await?.len();
            let found = view.read_ledger().await?.len();
            came.in_the_middle += if (applied + 1..stored).contains(&found) { WORKERS } else { 0 };
            applied = found;
        }
        came.violations.extend(settled(self.storage, view, self.seed, came.kills).await?);
        came.stored += Entries::of(self.storage).await?.len() as u64;
        Ok(())
    }

    /// Runs a worker from its start to a kill, `moment` after it reported that it is ready. Workers with an
    /// odd seed live shorter, so that some are killed while they start.
    async fn live(&self, seed: u64, moment: Duration) -> Result<()> {
        let mut process = spawn(self.program, self.path, self.target, Job::Keep, seed)?;
        let mut lines = BufReader::new(process.stdout.take().context("its output is ours")?).lines();
        let life = async {
            if seed.is_multiple_of(2) {
                lines.next_line().await?.context("a worker says that it is ready")?;
            }
            SystemClock.sleep(moment).await;
            anyhow::Ok(())
        };
        tokio::select! {
            status = process.wait() => bail!("a worker ended by itself: {}", status?),
            lived = life => lived?,
        }
        Ok(process.kill().await?)
    }
}

/// The differences of a ledger from the fold after missing commits were repaired.
pub(super) async fn settled<V: Ledger>(
    storage: &Events,
    view: &V,
    seed: u64,
    kills: u64,
) -> Result<Vec<String>> {
    let settings = SynchronizerSettings {
        sweep_every: None,
        retry_quarantined_at_start: false,
        ..SynchronizerSettings::default()
    };
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
