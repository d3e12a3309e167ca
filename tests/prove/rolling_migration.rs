//! A service moves to another storage in rolling deployments, and its processes are killed with SIGKILL at random moments.

use anyhow::{Context as _, Result};
use eventsrc_tests::rolling_migration::roll;

use crate::kills::program;
use crate::runs::{Findings, Trial};

/// Moves from one SQLite file to another.
pub(crate) async fn sqlite(trial: Trial) -> Result<Findings> {
    let program = program("migrating-writer")?;
    let report = roll(&program, trial.attempts, trial.seed).await;
    let report = report.with_context(|| format!("with {}", program.display()))?;
    let note = format!(
        "{} moves, {} processes killed, {} of their open saves found stored",
        report.moves, report.kills, report.found_stored
    );
    Ok(Findings { attempted: report.events, violations: report.violations, note })
}
