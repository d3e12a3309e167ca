//! Callers race, and the checker judges their history.

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use eventsrc_testkit::history::{Checked, Load, Recorded, Violation, hammer};
use eventsrc_testkit::{Faults, Faulty};
use eventsrc_tests::seeded_bugs::{Bug, Seeded};

const SEED: u64 = 20_260;

/// Races 64 callers over 8 streams.
async fn race<St>(storage: St, seed: u64, operations: u64) -> Result<Checked, Violation>
where
    St: EventStorage<Key = StreamName, Payload = u64>,
{
    let storage = Arc::new(storage);
    let recorded = Arc::new(Recorded::new(Arc::clone(&storage)));
    hammer(&recorded, Load { seed, tasks: 64, streams: 8, operations }).await;
    recorded.check(&storage).await
}

/// Races callers over a storage with injected faults. The final state is read without faults.
async fn race_under_faults<St>(storage: St, seed: u64, operations: u64)
where
    St: EventStorage<Key = StreamName, Payload = u64>,
{
    let recorded = Arc::new(Recorded::new(Faulty::new(storage, Faults::seeded(seed), Arc::new(SystemClock))));
    hammer(&recorded, Load { seed, tasks: 64, streams: 8, operations }).await;
    let faulty = recorded.storage();
    let injected = faulty.injected();
    if let Err(violation) = recorded.check(faulty.storage()).await {
        panic!("seed {seed}, {injected}: {violation}");
    }
    assert!(injected.failed_before > 100 && injected.replies_lost > 100, "seed {seed}: {injected}");
}

fn assert_raced(checked: Result<Checked, Violation>, operations: u64) {
    let checked = checked.unwrap_or_else(|violation| panic!("seed {SEED}: {violation}"));
    assert!(checked.puts + checked.reads >= operations, "{checked:?}");
    assert!(
        checked.conflicts > operations / 20 && checked.commits > operations / 20,
        "they did race: {checked:?}"
    );
    assert_eq!((checked.unknown, checked.failed_reads), (0, 0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_linearizable_under_200_000_racing_operations() {
    let checked = race(MemoryStorage::<StreamName, u64, u64>::default(), SEED, 200_000).await;
    assert_raced(checked, 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_linearizable_under_20_000_racing_operations() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("raced.db")).await.unwrap();
    let checked = race(SqliteStorage::<StreamName, u64, u64>::new(&database), SEED, 20_000).await;
    assert_raced(checked, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_linearizable_under_injected_faults() {
    race_under_faults(MemoryStorage::<StreamName, u64, u64>::default(), SEED, 20_000).await;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("raced.db")).await.unwrap();
    race_under_faults(SqliteStorage::<StreamName, u64, u64>::new(&database), SEED, 5_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_seeded_bug_is_found() {
    for bug in Bug::ALL {
        for seed in SEED..SEED + 3 {
            match race(Seeded::new(Some(bug)), seed, 5_000).await {
                Ok(checked) => panic!("{bug:?} was not found with seed {seed}: {checked:?}"),
                Err(violation) => {
                    assert!(
                        bug.shows_as().contains(&violation.kind),
                        "{bug:?} with seed {seed}, as {:?}: {violation}",
                        violation.kind
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_without_seeded_bugs_is_sound() {
    for seed in SEED..SEED + 3 {
        let checked = race(Seeded::new(None), seed, 5_000).await;
        let checked = checked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!((checked.unknown, checked.failed_reads), (0, 0), "seed {seed}: {checked:?}");
    }
}
