//! Views under disorder, faults, kills and rebuilds.

use std::path::Path;

use anyhow::Result;
use eventsrc_core::StreamName;
use eventsrc_postgres::{Postgres, PostgresView};
use eventsrc_sqlite::{Database, SqliteView};
use eventsrc_test_servers as servers;
use eventsrc_tests::ledgers::{
    PostgresLedger, SqliteLedger, Target, kill_rebuilds, kill_workers, race, read_under_lag, resume_stopped,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::kills::program;
use crate::runs::{Findings, Trial};

/// Delivers commits to racing workers of a view in a file.
pub(crate) async fn deliveries_sqlite(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let open = async |round: u64| {
        let database = Database::open(folder.path().join(format!("{round}.db"))).await?;
        Ok(SqliteView::<StreamName, u64, i64, _>::open(&database, SqliteLedger(1)).await?)
    };
    let came = race(open, trial.attempts, trial.seed).await?;
    let note = format!("{} commits stored, {} transactions, 4 racing workers", came.stored, came.batches);
    Ok(Findings { attempted: came.delivered, violations: came.violations, note })
}

/// Opens a new file in `folder` for each round.
fn in_files(folder: &Path) -> impl Fn(u64) -> BoxFuture<'static, Result<Target>> {
    move |round| {
        let file = folder.join(format!("{round}.db"));
        async move { Ok(Target::Sqlite(file)) }.boxed()
    }
}

/// Kills workers of a view in a file.
pub(crate) async fn kills_sqlite(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let target = in_files(folder.path());
    let came = kill_workers(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note = format!("{} in the middle, {} commits stored", came.in_the_middle, came.stored);
    Ok(Findings { attempted: came.kills, violations: came.violations, note })
}

/// Kills rebuilds of a view in a file.
pub(crate) async fn rebuilds_sqlite(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let target = in_files(folder.path());
    let came = kill_rebuilds(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note =
        format!("{} in the middle, {} rebuilds completed and taken over", came.in_the_middle, came.completed);
    Ok(Findings { attempted: came.kills, violations: came.violations, note })
}

/// Delivers commits to racing workers of a view in Postgres.
pub(crate) async fn deliveries_postgres(trial: Trial) -> Result<Findings> {
    let server = servers::postgres().await;
    let open = async |_| {
        let postgres = Postgres::connect(&server.database("deliveries").await).await?;
        Ok(PostgresView::<StreamName, u64, i64, _>::open(&postgres, PostgresLedger(1)).await?)
    };
    let came = race(open, trial.attempts, trial.seed).await?;
    let note = format!("{} commits stored, {} transactions, 4 racing workers", came.stored, came.batches);
    Ok(Findings { attempted: came.delivered, violations: came.violations, note })
}

/// Kills workers of a view in Postgres.
pub(crate) async fn kills_postgres(trial: Trial) -> Result<Findings> {
    let server = servers::postgres().await;
    let target = |_| async { Ok(Target::Postgres(server.database("kills").await)) }.boxed();
    let came = kill_workers(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note = format!("{} in the middle, {} commits stored", came.in_the_middle, came.stored);
    Ok(Findings { attempted: came.kills, violations: came.violations, note })
}

/// Stops workers of a view in Postgres, lets another one overtake them, and resumes them.
pub(crate) async fn zombies_postgres(trial: Trial) -> Result<Findings> {
    let url = servers::postgres().await.database("zombies").await;
    let came = resume_stopped(&program("ledger-worker")?, &url, trial.attempts, trial.seed).await?;
    let note = format!("{} were overtaken with something left to apply", came.overtaken);
    Ok(Findings { attempted: came.woken, violations: came.violations, note })
}

/// Kills rebuilds of a view in Postgres.
pub(crate) async fn rebuilds_postgres(trial: Trial) -> Result<Findings> {
    let server = servers::postgres().await;
    let target = |_| async { Ok(Target::Postgres(server.database("rebuilds").await)) }.boxed();
    let came = kill_rebuilds(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note =
        format!("{} in the middle, {} rebuilds completed and taken over", came.in_the_middle, came.completed);
    Ok(Findings { attempted: came.kills, violations: came.violations, note })
}

/// Reads a view that is behind, first without faults and then with faults.
pub(crate) async fn fresh_reads(trial: Trial) -> Result<Findings> {
    let half = trial.attempts / 2;
    let quiet = read_under_lag(half, false, trial.seed).await?;
    let faulty = read_under_lag(trial.attempts - half, true, trial.seed).await?;
    let note = format!(
        "{} answered, {} stale by a short limit, {} faults",
        quiet.answered + faulty.answered,
        quiet.stale + faulty.stale,
        faulty.faults
    );
    let violations = [quiet.violations, faulty.violations].concat();
    Ok(Findings {
        attempted: quiet.answered + quiet.stale + faulty.answered + faulty.stale,
        violations,
        note,
    })
}
