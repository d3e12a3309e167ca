//! Callers race, and the checker judges.

use std::sync::Arc;

use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use eventsrc_testkit::history::{Checked, Load, Recorded, Violation, hammer};
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

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_linearizable_under_200_000_racing_operations() {
    let checked = race(MemoryStorage::<StreamName, u64, u64>::default(), SEED, 200_000).await;
    let checked = checked.unwrap_or_else(|violation| panic!("seed {SEED}: {violation}"));
    assert!(checked.puts + checked.reads >= 200_000, "{checked:?}");
    assert!(checked.conflicts > 1_000 && checked.commits > 10_000, "the callers did race: {checked:?}");
    assert_eq!((checked.unknown, checked.failed_reads), (0, 0), "{checked:?}");
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
async fn the_storage_that_bugs_are_seeded_in_is_sound_without_them() {
    for seed in SEED..SEED + 3 {
        let checked = race(Seeded::new(None), seed, 5_000).await;
        let checked = checked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!((checked.unknown, checked.failed_reads), (0, 0), "seed {seed}: {checked:?}");
    }
}
