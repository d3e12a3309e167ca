//! Views under disorder, faults, kills and rebuilds.

use std::path::Path;

use anyhow::Result;
use eventsrc_core::StreamName;
use eventsrc_postgres::{Postgres, PostgresView};
use eventsrc_sqlite::{Database, SqliteView};
use eventsrc_test_servers as servers;
use eventsrc_tests::ledgers::{
    PostgresLedger, SqliteLedger, Target, kill_rebuilds, kill_workers, race, read_under_lag, wake_the_dead,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::kills::program;
use crate::runs::{Found, Trial};

/// Delivers commits to racing workers of a view in a file.
pub(crate) async fn deliveries_sqlite(trial: Trial) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let open = async |round: u64| {
        let database = Database::open(folder.path().join(format!("{round}.db"))).await?;
        Ok(SqliteView::<StreamName, u64, i64, _>::open(&database, SqliteLedger(1)).await?)
    };
    let came = race(open, trial.attempts, trial.seed).await?;
    let note = format!("{} commits stored, {} transactions, 4 racing workers", came.stored, came.batches);
    Ok(Found { attempted: came.delivered, violations: came.violations, note })
}

/// A file of its own in `folder` for each round.
fn in_files(folder: &Path) -> impl Fn(u64) -> BoxFuture<'static, Result<Target>> {
    move |round| {
        let file = folder.join(format!("{round}.db"));
        async move { Ok(Target::Sqlite(file)) }.boxed()
    }
}

/// Kills workers of a view in a file.
pub(crate) async fn kills_sqlite(trial: Trial) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let target = in_files(folder.path());
    let came = kill_workers(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note = format!("{} in the middle, {} commits stored", came.in_the_middle, came.stored);
    Ok(Found { attempted: came.kills, violations: came.violations, note })
}

/// Kills rebuilds of a view in a file.
pub(crate) async fn rebuilds_sqlite(trial: Trial) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let target = in_files(folder.path());
    let came = kill_rebuilds(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note =
        format!("{} in the middle, {} rebuilds completed and taken over", came.in_the_middle, came.completed);
    Ok(Found { attempted: came.kills, violations: came.violations, note })
}

/// Delivers commits to racing workers of a view in Postgres.
pub(crate) async fn deliveries_postgres(trial: Trial) -> Result<Found> {
    let server = servers::postgres().await;
    let open = async |_| {
        let postgres = Postgres::connect(&server.database("deliveries").await).await?;
        Ok(PostgresView::<StreamName, u64, i64, _>::open(&postgres, PostgresLedger(1)).await?)
    };
    let came = race(open, trial.attempts, trial.seed).await?;
    let note = format!("{} commits stored, {} transactions, 4 racing workers", came.stored, came.batches);
    Ok(Found { attempted: came.delivered, violations: came.violations, note })
}

/// Kills workers of a view in Postgres.
pub(crate) async fn kills_postgres(trial: Trial) -> Result<Found> {
    let server = servers::postgres().await;
    let target = |_| async { Ok(Target::Postgres(server.database("kills").await)) }.boxed();
    let came = kill_workers(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note = format!("{} in the middle, {} commits stored", came.in_the_middle, came.stored);
    Ok(Found { attempted: came.kills, violations: came.violations, note })
}

/// Stops workers of a view in Postgres, has another one overtake them, and wakes them up.
pub(crate) async fn zombies_postgres(trial: Trial) -> Result<Found> {
    let url = servers::postgres().await.database("zombies").await;
    let came = wake_the_dead(&program("ledger-worker")?, &url, trial.attempts, trial.seed).await?;
    let note = format!("{} were overtaken with something left to apply", came.overtaken);
    Ok(Found { attempted: came.woken, violations: came.violations, note })
}

/// Kills rebuilds of a view in Postgres.
pub(crate) async fn rebuilds_postgres(trial: Trial) -> Result<Found> {
    let server = servers::postgres().await;
    let target = |_| async { Ok(Target::Postgres(server.database("rebuilds").await)) }.boxed();
    let came = kill_rebuilds(&program("ledger-worker")?, target, trial.attempts, trial.seed).await?;
    let note =
        format!("{} in the middle, {} rebuilds completed and taken over", came.in_the_middle, came.completed);
    Ok(Found { attempted: came.kills, violations: came.violations, note })
}

/// Reads a view that lags, while nothing fails and while everything does.
pub(crate) async fn fresh_reads(trial: Trial) -> Result<Found> {
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
    Ok(Found { attempted: quiet.answered + quiet.stale + faulty.answered + faulty.stale, violations, note })
}
