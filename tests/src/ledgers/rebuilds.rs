//! Rebuilds that are killed at random moments and resumed, and take-overs while writers go on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::synchronizer::SynchronizerSettings;
use futures::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::kills::spawn;
use super::worker::{self, Events, Job, Target};
use super::{Entries, Filler, Ledger};

/// Result of the kills of rebuilds.
#[derive(Debug, Default)]
pub struct RebuildKills {
    /// Number of killed processes.
    pub kills: u64,
    /// Number of kills that interrupted a rebuild after its start.
    pub in_the_middle: u64,
    /// Number of rebuilds that were completed, compared and taken over.
    pub completed: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `ledger-worker`, at `kills` random moments while it rebuilds version 2 of the ledger
/// in `target`, several times for each rebuild. Then resumes the rebuild, compares its digest with version 1,
/// which was kept up to date, and takes over and back while a writer goes on.
///
/// # Errors
///
/// If the program cannot be run, or the ledger cannot be read.
pub async fn kill_rebuilds(
    program: &Path,
    target: impl Fn(u64) -> BoxFuture<'static, Result<Target>>,
    kills: u64,
    seed: u64,
) -> Result<RebuildKills> {
    let randomness = Randomness::seeded(seed);
    let mut came = RebuildKills::default();
    while came.kills < kills {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("events.db");
        let storage = worker::events(&path).await?;
        let mut filler = Filler::new(200, StdRng::seed_from_u64(seed + came.completed));
        filler.add(&storage, 20_000).await?;
        let target = target(came.completed).await?;
        let rebuild = KilledRebuild { program, path: &path, storage: &storage, target: &target, seed };
        match &target {
            Target::Sqlite(file) => {
                let (old, new) =
                    (worker::sqlite_ledger(file, 1).await?, worker::sqlite_ledger(file, 2).await?);
                rebuild.run(&old, &new, &mut filler, &randomness, &mut came).await?;
            }
            Target::Postgres(url) => {
                let (old, new) =
                    (worker::postgres_ledger(url, 1).await?, worker::postgres_ledger(url, 2).await?);
                rebuild.run(&old, &new, &mut filler, &randomness, &mut came).await?;
            }
        }
        came.completed += 1;
    }
    Ok(came)
}

/// Number of kills of one rebuild before it runs to its end.
const KILLS_PER_REBUILD: u64 = 5;

struct KilledRebuild<'a> {
    program: &'a Path,
    path: &'a Path,
    storage: &'a Events,
    target: &'a Target,
    seed: u64,
}

impl KilledRebuild<'_> {
    async fn run<V: Ledger>(
        &self,
        old: &V,
        new: &V,
        filler: &mut Filler,
        randomness: &Randomness,
        came: &mut RebuildKills,
    ) -> Result<()> {
        let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
        let keeping = |view: &V| Synchronizer::start(self.storage.clone(), view.clone(), settings.clone());
        let (old_keeper, new_keeper) = (keeping(old), keeping(new));
        old_keeper.sweep().await?;
        let stored = old.read_ledger().await?.len();
        for _ in 0..KILLS_PER_REBUILD {
            let mut process = spawn(self.program, self.path, self.target, Job::Rebuild, self.seed)?;
            tokio::select! {
                _ = process.wait() => {}
                () = SystemClock.sleep(randomness.up_to(Duration::from_millis(400))) => process.kill().await?,
            }
            came.kills += 1;
            came.in_the_middle += u64::from((1..stored).contains(&new.read_ledger().await?.len()));
        }
        let mut process = spawn(self.program, self.path, self.target, Job::Rebuild, self.seed)?;
        ensure!(process.wait().await?.success(), "an undisturbed rebuild ends");
        let what = format!("seed {}, rebuild {}", self.seed, came.completed);
        let mut violation = |wrong: String| came.violations.push(format!("{what}: {wrong}"));
        if old.digest().await? != new.digest().await? {
            violation("the rebuilt version is not equal to the one that was kept, by digest".into());
        }
        ensure!(new.serving().await? == 1, "a rebuild does not take over by itself");

        let done = AtomicBool::new(false);
        let writing = async {
            while !done.load(Ordering::SeqCst) {
                filler.add(self.storage, 20).await?;
                old_keeper.sweep().await?;
            }
            anyhow::Ok(())
        };
        let switching = async {
            for taking in [&new_keeper, &old_keeper, &new_keeper] {
                taking.take_over().await.context("the take-over")?;
            }
            done.store(true, Ordering::SeqCst);
            anyhow::Ok(())
        };
        futures::try_join!(writing, switching)?;
        ensure!(old.serving().await? == 2, "the new version serves");
        old_keeper.sweep().await?;
        new_keeper.sweep().await?;
        let expected = Entries::of(self.storage).await?;
        for (which, view) in [("old", old), ("new", new)] {
            for wrong in view.read_ledger().await?.wrong(&expected) {
                violation(format!("the {which} version after the take-over: {wrong}"));
            }
        }
        if old.digest().await? != new.digest().await? {
            violation("the versions differ after the take-over, by digest".into());
        }
        old_keeper.stop().await;
        new_keeper.stop().await;
        Ok(())
    }
}
