//! Callers race, and the checker judges their history.

use std::sync::Arc;

use eventsrc_core::StreamName;
use eventsrc_core::clock::SystemClock;
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_testkit::history::{Load, Recorded, hammer};
use eventsrc_testkit::{Faults, Faulty};

use super::database;

type Storage = PostgresStorage<StreamName, u64, u64>;

const SEED: u64 = 20_260;

async fn open(url: &str) -> Storage {
    PostgresStorage::new(&Postgres::connect(url).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_linearizable_under_8_000_racing_operations() {
    let storage = Arc::new(open(&database().await).await);
    let recorded = Arc::new(Recorded::new(Arc::clone(&storage)));
    hammer(&recorded, Load { seed: SEED, tasks: 64, streams: 8, operations: 8_000 }).await;
    let checked = recorded.check(&storage).await;
    let checked = checked.unwrap_or_else(|violation| panic!("seed {SEED}: {violation}"));
    assert!(checked.puts + checked.reads >= 8_000, "{checked:?}");
    assert!(checked.conflicts > 400 && checked.commits > 400, "they did race: {checked:?}");
    assert_eq!((checked.unknown, checked.failed_reads), (0, 0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_linearizable_under_injected_faults() {
    let faulty = Faulty::new(open(&database().await).await, Faults::seeded(SEED), Arc::new(SystemClock));
    let recorded = Arc::new(Recorded::new(faulty));
    hammer(&recorded, Load { seed: SEED, tasks: 64, streams: 8, operations: 3_000 }).await;
    let faulty = recorded.storage();
    let injected = faulty.injected();
    if let Err(violation) = recorded.check(faulty.storage()).await {
        panic!("seed {SEED}, {injected}: {violation}");
    }
    assert!(injected.failed_before > 100 && injected.replies_lost > 100, "seed {SEED}: {injected}");
}
