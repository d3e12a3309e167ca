//! `git-history` is killed at random moments of an import, resumed, and compared with git.

use anyhow::{Context as _, Result};
use eventsrc_tests::git_kills::kill_import;
use eventsrc_tests::git_repository::{Script, TestRepository};

use crate::runs::{Found, Trial};

pub(crate) async fn killed(trial: Trial) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let repository = TestRepository::empty(&folder.path().join("repository.git"), "sha1")?;
    repository.run(&Script::long(300, 12))?;
    let program = std::env::current_exe()?.with_file_name("git-history");
    let kills = u32::try_from(trial.attempts)?;
    let report = kill_import(&program, repository.path(), kills, trial.seed)
        .await
        .with_context(|| format!("with {}", program.display()))?;
    let note = format!("{} in the middle, {} imports completed", report.in_the_middle, report.completed);
    Ok(Found { attempted: u64::from(report.kills), violations: report.violations, note })
}
