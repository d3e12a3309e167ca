//! The processes of a migration, which are deployed, killed and restarted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::clock::{Clock, SystemClock};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::process::{Child, Command};

use super::journal::Commands;
use super::worker::{Job, Step};

/// Longest time between two kills.
const LONGEST: Duration = Duration::from_millis(150);

/// Longest life of a copier that is killed.
const LONGEST_COPIER: Duration = Duration::from_millis(100);

/// Two processes that save to the same streams, in the steps of a migration.
pub(super) struct Rollout<'a> {
    program: &'a Path,
    folder: &'a Path,
    draws: StdRng,
    processes: [Process; 2],
    starts: u64,
    kills: u64,
}

/// A process, and its predecessors with the same journal.
struct Process {
    journal: PathBuf,
    job: Job,
    running: Option<Running>,
}

struct Running {
    child: Child,
    complaints: PathBuf,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(program: &'a Path, folder: &'a Path, draws: StdRng) -> Self {
        let process =
            |name: &str| Process { journal: folder.join(name), job: Job::Save(Step::Old), running: None };
        let processes = [process("first.journal"), process("second.journal")];
        Self { program, folder, draws, processes, starts: 0, kills: 0 }
    }

    pub(super) fn new_file(&self) -> PathBuf {
        self.folder.join("new.db")
    }

    pub(super) fn kills(&self) -> u64 {
        self.kills
    }

    /// Returns the commands of both processes.
    pub(super) fn commands(&self) -> Result<Commands> {
        Commands::read(self.processes.iter().map(|process| &*process.journal))
    }

    /// Draws which process is deployed first.
    pub(super) fn deployment_order(&mut self) -> [usize; 2] {
        if self.draws.random() { [0, 1] } else { [1, 0] }
    }

    /// Kills a process, if it runs, and starts its successor in `step`.
    pub(super) async fn deploy(&mut self, process: usize, step: Step) -> Result<()> {
        self.kill(process).await?;
        self.processes[process].job = Job::Save(step);
        self.restart(process)
    }

    /// Kills and restarts random processes, until they have saved `events` more events.
    pub(super) async fn save(&mut self, events: u64) -> Result<()> {
        let goal = self.commands()?.acknowledged_events() + events;
        loop {
            SystemClock.sleep(self.up_to(LONGEST)).await;
            self.kill_any().await?;
            if self.commands()?.acknowledged_events() >= goal {
                return Ok(());
            }
        }
    }

    /// Starts to copy the history, and kills the copier and a process that saves.
    pub(super) async fn interrupt_copy(&mut self) -> Result<()> {
        let mut copier = self.start(Job::Copy, &self.copier_journal())?;
        SystemClock.sleep(self.up_to(LONGEST_COPIER)).await;
        // A copier that has ended was quick.
        copier.child.kill().await?;
        self.kills += 1;
        self.kill_any().await
    }

    /// Copies the history. Kills a process that saves meanwhile.
    pub(super) async fn copy(&mut self) -> Result<()> {
        let copier = self.start(Job::Copy, &self.copier_journal())?;
        self.kill_any().await?;
        copier.succeed().await.context("the copier failed")
    }

    fn copier_journal(&self) -> PathBuf {
        self.folder.join("copier.journal")
    }

    /// Kills both processes, and saves what they left open.
    pub(super) async fn settle(&mut self) -> Result<()> {
        for process in 0..self.processes.len() {
            self.kill(process).await?;
        }
        for process in 0..self.processes.len() {
            let journal = self.processes[process].journal.clone();
            let settling = self.start(Job::Settle(Step::New), &journal)?;
            settling.succeed().await.context("the open commands cannot be saved")?;
        }
        Ok(())
    }

    async fn kill_any(&mut self) -> Result<()> {
        let process = self.draws.random_range(0..self.processes.len());
        // The second process is deployed later than the first one.
        if self.processes[process].running.is_some() {
            self.kill(process).await?;
            self.restart(process)?;
        }
        Ok(())
    }

    async fn kill(&mut self, process: usize) -> Result<()> {
        if let Some(mut running) = self.processes[process].running.take() {
            if let Some(status) = running.child.try_wait()? {
                bail!("a process ended by itself, {status}: {}", running.complaints()?);
            }
            running.child.kill().await?;
            self.kills += 1;
        }
        Ok(())
    }

    fn restart(&mut self, process: usize) -> Result<()> {
        let Process { job, journal, .. } = &self.processes[process];
        let (job, journal) = (*job, journal.clone());
        self.processes[process].running = Some(self.start(job, &journal)?);
        Ok(())
    }

    fn start(&mut self, job: Job, journal: &Path) -> Result<Running> {
        self.starts += 1;
        let complaints = self.folder.join(format!("{}.complaints", self.starts));
        let mut command = Command::new(self.program);
        command.arg(self.folder.join("old.db")).arg(self.new_file()).arg(job.text()).arg(journal);
        command.arg(self.draws.random::<u64>().to_string()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&complaints)?);
        let child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        Ok(Running { child, complaints })
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.draws.random())
    }
}

impl Running {
    /// Waits for the end of a process that ends by itself.
    async fn succeed(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        ensure!(status.success(), "{status}: {}", self.complaints()?);
        Ok(())
    }

    fn complaints(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.complaints)?)
    }
}
