//! Workers that are stopped, overtaken by another one, and resumed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::kills::{settled, spawn};
use super::worker::{self, Job, Target};
use super::{Entries, Filler, Ledger};

/// Result of the stopped workers.
#[derive(Debug, Default)]
pub struct Zombies {
    /// Number of processes that were stopped, overtaken and resumed.
    pub woken: u64,
    /// Number of them that had commits left to apply when they were stopped, all of which another worker
    /// applied meanwhile.
    pub overtaken: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Stops `program`, which is `ledger-worker`, with SIGSTOP at `zombies` random moments. Then brings the ledger in
/// the Postgres database at `url` up to date, resumes the worker with SIGCONT, waits until it has ended, and
/// compares the ledger.
///
/// # Errors
///
/// If the program cannot be run, or the ledger cannot be read.
pub async fn resume_stopped(program: &Path, url: &str, zombies: u64, seed: u64) -> Result<Zombies> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events.db");
    let storage = worker::events(&path).await?;
    let view = worker::postgres_ledger(url, 1).await?;
    let target = Target::Postgres(url.into());
    let randomness = Randomness::seeded(seed);
    let mut filler = Filler::new(50, StdRng::seed_from_u64(seed));
    let mut came = Zombies::default();
    while came.woken < zombies {
        filler.add(&storage, 600).await?;
        let mut process = spawn(program, &path, &target, Job::KeepOnce, seed + came.woken)?;
        let mut lines = BufReader::new(process.stdout.take().context("its output is ours")?).lines();
        ensure!(
            lines.next_line().await?.is_some_and(|line| line.starts_with("ready")),
            "it says that it begins"
        );
        SystemClock.sleep(randomness.up_to(Duration::from_millis(60))).await;
        signal(&process, "STOP").await?;
        let left = Entries::of(&storage).await?.len() - view.read_ledger().await?.len();
        came.violations.extend(settled(&storage, &view, seed, came.woken).await?);
        let before = view.read_ledger().await?;
        signal(&process, "CONT").await?;
        let status = process.wait().await?;
        if !status.success() {
            bail!("a woken worker failed: {status}");
        }
        let after = view.read_ledger().await?;
        came.violations.extend(
            after.wrong(&before).into_iter().map(|wrong| format!("seed {seed}, a zombie changed {wrong}")),
        );
        came.woken += 1;
        came.overtaken += u64::from(left > 0);
    }
    Ok(came)
}

async fn signal(process: &Child, signal: &str) -> Result<()> {
    let id = process.id().context("it has not ended")?;
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status().await?;
    ensure!(sent.success(), "cannot send SIG{signal}");
    Ok(())
}
