//! Writing processes are killed with SIGKILL at random moments, and the stored state is compared with the
//! promises.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use eventsrc_tests::git_kills::{kill_import, kill_rebuild};
use eventsrc_tests::git_repository::{Script, TestRepository};
use eventsrc_tests::kills::{Report, kill_dynamo_writer, kill_writer};

use crate::runs::{Findings, Trial};

/// Kills writers of an SQLite file.
pub(crate) async fn sqlite(trial: Trial) -> Result<Findings> {
    let kills = u32::try_from(trial.attempts)?;
    let program = program("writer")?;
    let report = kill_writer(&program, kills, trial.seed).await;
    Ok(found(report.with_context(|| format!("with {}", program.display()))?))
}

/// Kills writers of DynamoDB.
pub(crate) async fn dynamo(trial: Trial) -> Result<Findings> {
    let kills = u32::try_from(trial.attempts)?;
    let program = program("writer")?;
    let report = kill_dynamo_writer(&program, kills, trial.seed).await;
    Ok(found(report.with_context(|| format!("with {}", program.display()))?))
}

fn found(report: Report) -> Findings {
    let note = format!(
        "{} after an acknowledged commit, {} commits acknowledged, {} stored",
        report.in_the_middle, report.acknowledged, report.stored
    );
    Findings { attempted: u64::from(report.kills), violations: report.violations, note }
}

/// Kills imports of a git repository, and resumes them.
pub(crate) async fn git_history(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let repository = TestRepository::empty(&folder.path().join("repository.git"), "sha1")?;
    repository.run(&Script::long(300, 12))?;
    let kills = u32::try_from(trial.attempts)?;
    let program = program("git-history")?;
    let report = kill_import(&program, repository.path(), kills, trial.seed)
        .await
        .with_context(|| format!("with {}", program.display()))?;
    let note = format!("{} in the middle, {} imports completed", report.in_the_middle, report.completed);
    Ok(Findings { attempted: u64::from(report.kills), violations: report.violations, note })
}

/// Kills rebuilds of the counts of a git repository, and resumes them.
pub(crate) async fn git_history_rebuilds(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let repository = TestRepository::empty(&folder.path().join("repository.git"), "sha1")?;
    repository.run(&Script::long(300, 12))?;
    let kills = u32::try_from(trial.attempts)?;
    let program = program("git-history")?;
    let report = kill_rebuild(&program, repository.path(), kills, trial.seed)
        .await
        .with_context(|| format!("with {}", program.display()))?;
    let note = format!("{} in the middle, {} rebuilds completed", report.in_the_middle, report.completed);
    Ok(Findings { attempted: u64::from(report.kills), violations: report.violations, note })
}

/// The path of another program of this package, which is built into the same folder.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}
