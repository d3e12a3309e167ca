//! Processes on the path of events that are killed and paused at random moments, while shards are split and
//! merged.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::lease::LeaseStore as _;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::reshard::{open_shards, reshard};
use super::worker::WorkerReport;
use super::{Bus, Part, quick};
use crate::HANG;
use crate::ledgers::{Entries, Filler, Ledger as _};

/// Interruptions of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruptions {
    /// Number of kills.
    pub kills: u64,
    /// Number of processes that are stopped for longer than a lease lives, and resumed.
    pub zombies: u64,
    /// Number of splits and merges of shards.
    pub reshardings: u64,
}

/// Result of a run.
#[derive(Debug, Default)]
pub struct KillReport {
    /// Number of stored commits, each to be applied once.
    pub commits: u64,
    /// Number of their events.
    pub events: u64,
    /// Number of kills, pauses, splits and merges.
    pub blows: u64,
    /// Number of leases that resumed processes found taken by others, and number of commits that they found
    /// applied.
    pub refused: (u64, u64),
    /// Sum of the reports of all processes. Those of killed processes end with their last complete line.
    pub said: WorkerReport,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Number of processes for each part of the path.
const BRIDGES: usize = 2;
const LEDGERS: usize = 3;

/// Stores `commits` while `program`, which is `bus-worker`, runs in five processes with faults on the way to the
/// services of AWS and with `blows`. Then compares the ledger with the fold.
///
/// # Errors
///
/// If the program cannot be run, or the ledger cannot be read.
pub async fn survive_kills(
    program: &Path,
    bus: &Bus,
    commits: u64,
    blows: Interruptions,
    seed: u64,
) -> Result<KillReport> {
    let mut random = StdRng::seed_from_u64(seed);
    let randomness = Randomness::seeded(seed);
    let view = bus.view().await?;
    let parts = [vec![Part::Bridge; BRIDGES], vec![Part::Ledger; LEDGERS]].concat();
    // Each process has its own faults.
    let mut faults = seed..;
    let mut start = |part| Process::start(program, bus, part, faults.next().unwrap_or_default());
    let mut fleet = parts.into_iter().map(&mut start).collect::<Result<Vec<_>>>()?;

    let mut todo: Vec<Blow> = [
        vec![Blow::Kill; usize::try_from(blows.kills)?],
        vec![Blow::Pause; usize::try_from(blows.zombies)?],
        vec![Blow::Reshard; usize::try_from(blows.reshardings)?],
    ]
    .concat();
    let mut came = KillReport { blows: todo.len() as u64, ..KillReport::default() };
    let (storage, rounds) = (bus.storage(), todo.len().max(1) as u64);
    let mut filler = Filler::new(200, StdRng::seed_from_u64(seed));
    for round in 0..rounds {
        // These commits are on their way during the blow.
        let share = commits * (round + 1) / rounds - commits * round / rounds;
        let (filled, dealt) = tokio::join!(filler.add(&storage, share), async {
            SystemClock.sleep(randomness.up_to(Duration::from_millis(300))).await;
            let Some(blow) = (!todo.is_empty()).then(|| todo.swap_remove(random.random_range(0..todo.len())))
            else {
                return Ok((0, 0));
            };
            let place = random.random_range(0..fleet.len());
            match blow {
                Blow::Kill => {
                    let part = fleet[place].part;
                    came.said += std::mem::replace(&mut fleet[place], start(part)?).killed().await?;
                    Ok((0, 0))
                }
                Blow::Pause => fleet[place].pause().await,
                Blow::Reshard => reshard(bus, &mut random).await.map(|()| (0, 0)),
            }
        });
        filled?;
        let (lost, repeated) = dealt?;
        came.refused = (came.refused.0 + lost, came.refused.1 + repeated);
    }

    let expected = Entries::of(&storage).await?;
    came.commits = expected.len() as u64;
    came.events = filler.events();
    let settled = async {
        while view.read_ledger().await?.len() < expected.len() {
            SystemClock.sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    match timeout(HANG, settled).await {
        Ok(settled) => settled?,
        Err(_) => {
            let seconds = HANG.as_secs();
            came.violations.push(format!("seed {seed}: not all has come in {seconds} seconds"));
        }
    }
    for mut process in fleet {
        ensure!(process.child.try_wait()?.is_none(), "a process has ended by itself");
        came.said += process.killed().await?;
    }
    if came.said.anomalies > 0 {
        came.violations.push(format!("seed {seed}: {} anomalies", came.said.anomalies));
    }
    // A shard that was read to its end is never read again.
    let open = open_shards(&bus.kinesis_client(), &bus.stream).await?;
    let leases = bus.leases(Part::Ledger.text()).await?.leases().await?;
    let ended = leases.into_iter().filter(|lease| lease.has_ended());
    let wrong = ended.filter(|lease| open.iter().any(|(.., shard)| *shard == lease.shard));
    came.violations
        .extend(wrong.map(|lease| format!("seed {seed}: the shard {} has not ended", lease.shard)));
    let wrong = view.read_ledger().await?.wrong(&expected);
    came.violations.extend(wrong.into_iter().map(|wrong| format!("seed {seed}: {wrong}")));
    Ok(came)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Pause,
    Reshard,
}

/// A process, and its last report.
struct Process {
    part: Part,
    child: Child,
    said: Arc<Mutex<WorkerReport>>,
    listener: JoinHandle<()>,
}

impl Process {
    fn start(program: &Path, bus: &Bus, part: Part, faults: u64) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(part.text()).arg(faults.to_string()).args(bus.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is ours")?).lines();
        let said = Arc::new(Mutex::new(WorkerReport::default()));
        let heard = Arc::clone(&said);
        let listener = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // A line that was cut off by a kill is ignored.
                if let Ok(words) = WorkerReport::parse(&line) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = words;
                }
            }
        });
        Ok(Self { part, child, said, listener })
    }

    fn said(&self) -> WorkerReport {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the process for longer than its leases live. Returns how many leases and commits it found taken
    /// when it was resumed.
    async fn pause(&self) -> Result<(u64, u64)> {
        self.signal("STOP").await?;
        let before = self.said();
        // Long enough for other workers to take over its leases and to continue with them.
        SystemClock.sleep(quick().expiry * 3).await;
        self.signal("CONT").await?;
        SystemClock.sleep(quick().expiry).await;
        let after = self.said();
        Ok((after.lost - before.lost, after.repeated - before.repeated))
    }

    /// Kills the process. Returns its last report.
    async fn killed(mut self) -> Result<WorkerReport> {
        self.child.kill().await?;
        Ok(self.said())
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().context("it has not ended")?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status().await?;
        ensure!(sent.success(), "cannot send SIG{signal}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
