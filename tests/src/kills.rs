//! Programs that write to a storage, and are killed at random moments.

mod place;
mod state;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use futures::future::try_join;
use tokio::process::Command;

pub use place::Location;
pub use state::{Acknowledged, State, acknowledged};
pub use writer::write;

/// Result of the kills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Number of killed processes.
    pub kills: u32,
    /// Number of them that had acknowledged a commit before.
    pub in_the_middle: u32,
    /// Number of acknowledged commits in all.
    pub acknowledged: u64,
    /// Number of stored commits in all, including those whose acknowledgement was cut off.
    pub stored: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `writer` and writes to SQLite files, with SIGKILL at `kills` random moments.
///
/// Half of the processes write alone and half in pairs, and most continue where killed ones stopped. After each
/// kill, or pair of kills, all stored commits are checked: each acknowledged commit is there and complete, no
/// commit is partial, and no stream has a hole.
///
/// # Errors
///
/// If the program cannot be run, or what it wrote cannot be read.
pub async fn kill_writer(program: &Path, kills: u32, seed: u64) -> Result<Report> {
    kill(program, kills, seed, Backend::Sqlite).await
}

/// Kills writers of DynamoDB, at the shared server of this process.
///
/// # Errors
///
/// As for [`kill_writer`].
pub async fn kill_dynamo_writer(program: &Path, kills: u32, seed: u64) -> Result<Report> {
    kill(program, kills, seed, Backend::Dynamo).await
}

/// The kind of storage of the writers.
#[derive(Debug, Clone, Copy)]
enum Backend {
    Sqlite,
    Dynamo,
}

impl Backend {
    /// Longest life of a process, including its start.
    fn longest(self) -> Duration {
        Duration::from_millis(match self {
            Self::Sqlite => 200,
            Self::Dynamo => 500,
        })
    }

    /// An empty location. A file is in `folder`.
    async fn new_place(self, folder: &Path, runs: u64) -> Result<Location> {
        match self {
            Self::Sqlite => Ok(Location::File(folder.join(format!("{runs}.db")))),
            Self::Dynamo => Location::new_tables("killed").await,
        }
    }

    /// The stored commits right after a kill.
    async fn state(self, place: &Location) -> Result<State> {
        match self {
            Self::Sqlite => State::read(place).await,
            Self::Dynamo => State::settled(place).await,
        }
    }
}

const RUNS_PER_PLACE: u64 = 7;

async fn kill(program: &Path, kills: u32, seed: u64, backend: Backend) -> Result<Report> {
    let randomness = Randomness::seeded(seed);
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let mut run = Run::at(backend.new_place(folder.path(), 0).await?);
    let mut runs = 0;
    while report.kills < kills {
        if runs > 0 && runs % RUNS_PER_PLACE == 0 {
            run = Run::at(backend.new_place(folder.path(), runs).await?);
        }
        let writer = |number: u64| Writer {
            program,
            place: &run.place,
            acknowledged: folder.path().join(format!("{number}.acknowledged")),
            complaints: folder.path().join(format!("{number}.complaints")),
            seed: seed.wrapping_mul(1_000_003).wrapping_add(number),
        };
        let (first, second) = (writer(2 * runs), writer(2 * runs + 1));
        let moments = (randomness.up_to(backend.longest()), randomness.up_to(backend.longest()));
        let mut written = if runs % 2 == 0 || report.kills + 1 == kills {
            vec![first.run_until(moments.0).await?]
        } else {
            let (first, second) = try_join(first.run_until(moments.0), second.run_until(moments.1)).await?;
            vec![first, second]
        };
        runs += 1;
        for acknowledged in &mut written {
            report.kills += 1;
            report.in_the_middle += u32::from(!acknowledged.is_empty());
            report.acknowledged += acknowledged.len() as u64;
            run.acknowledged.append(acknowledged);
        }
        let state = backend.state(&run.place).await?;
        report.stored += (state.commits() - run.stored) as u64;
        run.stored = state.commits();
        let what = format!("seed {seed}, kill {}", report.kills);
        report.violations.extend(state.wrong(&run.acknowledged).map(|wrong| format!("{what}: {wrong}")));
    }
    Ok(report)
}

/// One location, and the processes that were killed on it.
struct Run {
    place: Location,
    acknowledged: Vec<Acknowledged>,
    stored: usize,
}

impl Run {
    fn at(place: Location) -> Self {
        Self { place, acknowledged: Vec::new(), stored: 0 }
    }
}

/// A process that writes.
struct Writer<'a> {
    program: &'a Path,
    place: &'a Location,
    acknowledged: PathBuf,
    complaints: PathBuf,
    seed: u64,
}

impl Writer<'_> {
    /// Starts the process, kills it at `moment`, and returns its acknowledgements.
    async fn run_until(&self, moment: Duration) -> Result<Vec<Acknowledged>> {
        let mut command = Command::new(self.program);
        command.arg(self.place.argument()).arg(self.seed.to_string()).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(File::create(&self.acknowledged)?).stderr(File::create(&self.complaints)?);
        let mut process =
            command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        tokio::select! {
            status = process.wait() => {
                bail!("a writer ended by itself, {}: {}", status?, fs::read_to_string(&self.complaints)?)
            }
            () = SystemClock.sleep(moment) => process.kill().await?,
        }
        acknowledged(&fs::read_to_string(&self.acknowledged)?)
    }
}
