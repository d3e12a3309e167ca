//! A move to another storage in rolling deployments, whose processes are killed at random moments.

mod journal;
mod processes;
mod stored;
mod worker;

use std::path::Path;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;

use crate::HANG;
use processes::Rollout;
use stored::Stored;
pub use worker::{Job, Step, work};

/// Result of one or more moves to another storage.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of moves.
    pub moves: u64,
    /// Number of acknowledged events.
    pub events: u64,
    /// Number of killed processes.
    pub kills: u64,
    /// Number of saves that a killed process left open, and the next one found stored.
    pub found_stored: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Maximum number of events of one move.
const EVENTS_PER_MOVE: u64 = 4_000;

/// Number of parts of a move: one before each deployment of a process, and one while history is copied.
const PARTS: u64 = 9;

/// Maximum number of times that a copier is killed.
const MOST_COPIER_KILLS: u32 = 3;

/// Moves at least `events` events from one SQLite file to another, in several moves.
///
/// Two processes of `program`, which is `migrating-writer`, save to the same streams. They are deployed one after the
/// other in each step of [`Migration`](eventsrc_core::storage::Migration), and killed with SIGKILL at random moments and
/// restarted in their step. A process first saves again what its predecessor left open, with the same commit ids. Then the
/// new file is compared with the journals of the processes.
///
/// # Errors
///
/// If the program cannot be run, or ends by itself, or the files cannot be read.
pub async fn roll(program: &Path, events: u64, seed: u64) -> Result<Report> {
    let mut report = Report::default();
    while report.events < events {
        let (goal, seed) = ((events - report.events).min(EVENTS_PER_MOVE), seed.wrapping_add(report.moves));
        move_once(program, goal, seed, &mut report).await.with_context(|| format!("move {seed}"))?;
        report.moves += 1;
    }
    Ok(report)
}

async fn move_once(program: &Path, events: u64, seed: u64, report: &mut Report) -> Result<()> {
    let mut draws = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let (copies_early, copier_kills) = (draws.random(), draws.random_range(0..=MOST_COPIER_KILLS));
    let mut rollout = Rollout::new(program, folder.path(), draws);
    let part = events.div_ceil(PARTS);
    for step in [Step::Old, Step::Copying, Step::Switching, Step::New] {
        if step == Step::Copying && copies_early {
            rollout.interrupt_copy().await?;
        }
        for process in rollout.deployment_order() {
            rollout.deploy(process, step).await?;
            timeout(HANG, rollout.save(part)).await.context("the processes save too little")??;
        }
        if step == Step::Copying {
            for _ in 0..copier_kills {
                rollout.interrupt_copy().await?;
            }
            timeout(HANG, rollout.copy()).await.context("the copier does not end")??;
            timeout(HANG, rollout.save(part)).await.context("the processes save too little")??;
        }
    }
    rollout.settle().await?;
    let commands = rollout.commands()?;
    let stored = Stored::read(rollout.new_file()).await?;
    report.events += commands.acknowledged_events();
    report.kills += rollout.kills();
    report.found_stored += commands.found_stored();
    report
        .violations
        .extend(stored.wrong(&commands).into_iter().map(|wrong| format!("seed {seed}: {wrong}")));
    Ok(())
}
