//! 64 callers race over 8 streams, and the exact checker judges the history.

use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::clock::SystemClock;
use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_sqlite::{Database, SqliteStorage};
use eventsrc_test_servers as servers;
use eventsrc_testkit::history::{Checked, Load, Recorded, Violation, hammer};
use eventsrc_testkit::{Faults, Faulty};
use eventsrc_tests::dynamo::tables;
use eventsrc_tests::faulty_http::{FaultyHttp, FaultyTables, HttpFault, once, quickly};

use crate::runs::{Findings, Trial};

pub(crate) async fn memory(trial: Trial) -> Result<Findings> {
    Ok(race(MemoryStorage::<StreamName, u64, u64>::default(), trial).await)
}

pub(crate) async fn memory_under_faults(trial: Trial) -> Result<Findings> {
    Ok(race_under_faults(MemoryStorage::<StreamName, u64, u64>::default(), trial).await)
}

pub(crate) async fn sqlite(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path().join("raced.db")).await?;
    let mut found = race(SqliteStorage::<StreamName, u64, u64>::new(&database), trial).await;
    found.note += &format!(", {} disk commits", database.disk_commits());
    Ok(found)
}

pub(crate) async fn sqlite_under_faults(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path().join("raced.db")).await?;
    Ok(race_under_faults(SqliteStorage::<StreamName, u64, u64>::new(&database), trial).await)
}

pub(crate) async fn postgres(trial: Trial) -> Result<Findings> {
    let server = servers::postgres().await;
    let postgres = Postgres::connect(&server.database("raced").await).await?;
    let mut found = race(PostgresStorage::<StreamName, u64, u64>::new(&postgres), trial).await;
    found.note += &format!(", {} disk commits", postgres.disk_commits());
    Ok(found)
}

pub(crate) async fn postgres_under_faults(trial: Trial) -> Result<Findings> {
    let server = servers::postgres().await;
    let postgres = Postgres::connect(&server.database("raced").await).await?;
    Ok(race_under_faults(PostgresStorage::<StreamName, u64, u64>::new(&postgres), trial).await)
}

pub(crate) async fn dynamo(trial: Trial) -> Result<Findings> {
    let dynamo = tables("raced").await;
    let mut found = race(DynamoStorage::<StreamName, u64, u64>::new(&dynamo), trial).await;
    found.note += &format!(", {} requests", dynamo.usage().requests);
    Ok(found)
}

/// The faults are in the SDK's HTTP client. In one half of the runs the SDK retries, in the other only the
/// callers do.
pub(crate) async fn dynamo_under_faults(trial: Trial) -> Result<Findings> {
    let mut all = Findings::default();
    let second_half = trial.attempts / 2;
    for (retries, name, attempts) in [
        (quickly(), "with the SDK's retries", trial.attempts - second_half),
        (once(), "without", second_half),
    ] {
        let tables = FaultyTables::new("raced").await;
        let faulty = FaultyHttp::random(trial.seed, FAULTS_OF_EACH_KIND);
        let through = tables.through(&faulty, retries);
        let recorded = Arc::new(Recorded::new(DynamoStorage::<StreamName, u64, u64>::new(&through)));
        let trial = Trial { attempts, ..trial };
        hammer(&recorded, load(trial)).await;
        let beneath = DynamoStorage::<StreamName, u64, u64>::new(tables.without_faults());
        let found = judge(trial, &recorded.check(&beneath).await);
        let (injected, requests) = (faulty.injected(), faulty.requests());
        if injected.kinds() < HttpFault::ANY_TIME.len() {
            all.violations.push(format!("not every kind of fault was injected: {injected}"));
        }
        all.attempted += found.attempted;
        all.violations.extend(found.violations);
        all.note += &format!("{name}: {}, {injected} in {requests} requests; ", found.note);
    }
    all.note.truncate(all.note.trim_end_matches("; ").len());
    Ok(all)
}

/// Rate of each kind of fault, of all requests to DynamoDB.
const FAULTS_OF_EACH_KIND: f64 = 0.03;

async fn race<St>(storage: St, trial: Trial) -> Findings
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let storage = Arc::new(storage);
    let recorded = Arc::new(Recorded::new(Arc::clone(&storage)));
    hammer(&recorded, load(trial)).await;
    let verdict = recorded.check(&storage).await;
    let mut found = judge(trial, &verdict);
    let failed = verdict.map_or(0, |checked| checked.unknown + checked.failed_reads);
    if failed > 0 {
        found.violations.push(format!("{failed} calls failed, without a fault"));
    }
    found
}

async fn race_under_faults<St>(storage: St, trial: Trial) -> Findings
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let faulty = Faulty::new(storage, Faults::seeded(trial.seed), Arc::new(SystemClock));
    let recorded = Arc::new(Recorded::new(faulty));
    hammer(&recorded, load(trial)).await;
    let faulty = recorded.storage();
    let mut found = judge(trial, &recorded.check(faulty.storage()).await);
    if faulty.injected().replies_lost == 0 {
        found.violations.push("no reply was lost".into());
    }
    found.note += &format!(", {}", faulty.injected());
    found
}

fn load(trial: Trial) -> Load {
    Load { seed: trial.seed, tasks: 64, streams: 8, operations: trial.attempts }
}

fn judge(trial: Trial, verdict: &Result<Checked, Violation>) -> Findings {
    match verdict {
        Ok(checked) => Findings {
            attempted: trial.attempts,
            violations: Vec::new(),
            note: format!(
                "{} calls, {} commits, {} conflicts",
                checked.puts + checked.reads,
                checked.commits,
                checked.conflicts
            ),
        },
        Err(violation) => Findings {
            attempted: trial.attempts,
            violations: vec![format!("{:?}: {violation}", violation.kind)],
            note: String::new(),
        },
    }
}
