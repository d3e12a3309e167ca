//! The number of requests that each command makes.

use std::sync::Arc;

use eventsrc_core::save::SaveSettings;
use eventsrc_core::storage::{CallCounts, CountingStorage};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{
    Consistency, Context, Decider, Decision, MemoryStorage, Operation, Outcome, Query, Snapshot, Token,
};

use super::directory::{
    A, ByName, Directory, Entry, Letter, by_name, directory, moved, reasons, saves, sequence, set,
};
use super::retries::{ConflictInfo, WithConflictInfo};

const ONE_PUT: CallCounts = CallCounts { puts: 1, conflicts: 0, latest: 0, reads: 0, pages: 0, errors: 0 };

#[tokio::test]
async fn a_cold_save_reads_once_and_a_warm_save_is_one_request() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    assert_eq!(sequence(saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap()), 1);
    assert_eq!(directory.take(), CallCounts { latest: 1, ..ONE_PUT });
    for expected in 2..10 {
        assert_eq!(sequence(saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap()), expected);
        assert_eq!(directory.take(), ONE_PUT);
    }
    assert_eq!(reasons(saves.save(&A, Operation::if_absent(set("ada", 1))).await.unwrap()).len(), 1);
    assert_eq!(
        directory.take(),
        CallCounts { puts: 0, latest: 1, ..ONE_PUT },
        "a rejection is checked on fresh knowledge"
    );
}

#[tokio::test]
async fn a_trusted_token_replaces_the_read() {
    let directory = directory();
    let token = saves(Arc::clone(&directory))
        .save(&A, Operation::insert(set("ada", 1)))
        .await
        .unwrap()
        .saved()
        .unwrap()
        .token;
    let codec = TokenCodec::signed(TokenKey::new("k1", *b"0123456789abcdef").unwrap(), []);
    let signed = codec.decode(&codec.encode(&token).unwrap()).unwrap();
    let unsigned = TokenCodec::unsigned().decode(&TokenCodec::unsigned().encode(&token).unwrap()).unwrap();
    for (sequence_after, token, latest) in [(2, signed, 0), (3, unsigned, 1)] {
        directory.take();
        let context = Context { token, ..Context::default() };
        let outcome =
            saves(Arc::clone(&directory)).save_with(&A, &context, Operation::insert(set("ada", 2))).await;
        assert_eq!(sequence(outcome.unwrap()), sequence_after);
        let calls = directory.take();
        assert_eq!(calls.latest, latest, "{calls:?}");
    }
}

#[tokio::test]
async fn an_invented_token_makes_no_hole() {
    let directory = directory();
    let saves = saves(Arc::clone(&directory));
    let _ = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    let invented = Token::claimed(&A, 900_u64).unwrap();
    let context = Context { token: invented, ..Context::default() };
    let cold = super::directory::saves(Arc::clone(&directory));
    assert_eq!(sequence(cold.save_with(&A, &context, Operation::insert(set("ada", 2))).await.unwrap()), 2);
}

#[tokio::test]
async fn a_stale_writer_pays_one_put_and_no_read_for_the_one_commit_it_missed() {
    for info in [ConflictInfo::Everything, ConflictInfo::InTheWay] {
        let directory = directory();
        let counted = Arc::new(CountingStorage::new(WithConflictInfo::new(Arc::clone(&directory), info)));
        let stale = saves(Arc::clone(&counted));
        let _ = stale.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
        let _ = saves(Arc::clone(&directory)).save(&A, Operation::insert(set("abe", 1))).await.unwrap();
        counted.take();
        let outcome = stale.save(&A, Operation::insert(set("ada", 2))).await.unwrap();
        assert_eq!(outcome.retries(), 1);
        assert_eq!(counted.take(), CallCounts { puts: 2, conflicts: 1, ..ONE_PUT }, "{info:?}");
    }
}

#[tokio::test]
async fn a_writer_that_missed_many_commits_reads_the_head() {
    for (info, latest) in
        [(ConflictInfo::Everything, 0), (ConflictInfo::InTheWay, 1), (ConflictInfo::Nothing, 1)]
    {
        let directory = directory();
        let counted = Arc::new(CountingStorage::new(WithConflictInfo::new(Arc::clone(&directory), info)));
        let stale = saves(Arc::clone(&counted));
        let _ = stale.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
        let other = saves(Arc::clone(&directory));
        for _ in 0..50 {
            let _ = other.save(&A, Operation::insert(set("abe", 1))).await.unwrap();
        }
        counted.take();
        assert_eq!(sequence(stale.save(&A, Operation::insert(set("ada", 2))).await.unwrap()), 52);
        let calls = counted.take();
        assert!(calls.latest == latest && calls.puts <= 3, "{info:?}: {calls:?}");
    }
}

#[tokio::test]
async fn a_rejection_from_a_stale_value_is_decided_again() {
    let directory = directory();
    let stale = saves(Arc::clone(&directory));
    let _ = stale.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    let _ = saves(Arc::clone(&directory)).save(&A, Operation::insert(set("abe", 1))).await.unwrap();
    let at_two = stale.save(&A, Operation::if_seq(Some(2), set("ada", 2))).await.unwrap();
    assert_eq!(sequence(at_two), 3, "its cached value was 1");
    let at_two = stale.save(&A, Operation::if_seq(Some(2), set("ada", 2))).await.unwrap();
    assert_eq!(reasons(at_two), moved(Some(2), Some(3)));
}

#[tokio::test]
async fn a_warm_decision_is_one_request_and_a_conflict_is_folded_from_the_conflicting_commit() {
    for info in [ConflictInfo::Everything, ConflictInfo::InTheWay] {
        let directory = directory();
        let counted = Arc::new(CountingStorage::new(WithConflictInfo::new(Arc::clone(&directory), info)));
        let decider = Decider::with(Arc::new(saves(Arc::clone(&counted))), |storage| {
            eventsrc_core::QueryApi::keyed(storage, ByName, |_: &String| A)
        });
        let one_more = || {
            Operation::<_, eventsrc_core::save::PreconditionFailed, _>::new(|known: &Snapshot<u64, u32>| {
                Decision::save(set("ada", known.value.unwrap_or(0) + 1))
            })
        };
        let name = "ada".to_owned();
        assert_eq!(sequence(decider.save(&name, one_more()).await.unwrap()), 1);
        counted.take();
        assert_eq!(sequence(decider.save(&name, one_more()).await.unwrap()), 2);
        assert_eq!(counted.take(), ONE_PUT);
        let _ = saves(Arc::clone(&directory)).save(&A, Operation::insert(set("ada", 40))).await.unwrap();
        assert_eq!(sequence(decider.save(&name, one_more()).await.unwrap()), 4);
        assert_eq!(counted.take(), CallCounts { puts: 2, conflicts: 1, ..ONE_PUT });
        let query = by_name(Arc::clone(&directory));
        let value = query.get(&name, Consistency::LatestEvent);
        assert_eq!(value.await.unwrap(), Some(41), "{info:?}: decided on the value of the other writer");
    }
}

#[tokio::test]
async fn a_decision_after_many_missed_commits_reads_only_the_missed_ones() {
    let directory = directory();
    let decider = Decider::with(Arc::new(saves(Arc::clone(&directory))), by_name);
    let name = "ada".to_owned();
    let insert = |value| Operation::<_, _, Snapshot<u64, u32>>::insert(set("ada", value));
    let _: Outcome = decider.save(&name, insert(1)).await.unwrap();
    let other = saves(Arc::clone(&directory));
    for _ in 0..10 {
        let _ = other.save(&A, Operation::insert(set("abe", 1))).await.unwrap();
    }
    directory.take();
    assert_eq!(sequence(decider.save(&name, insert(2)).await.unwrap()), 12);
    assert_eq!(directory.take(), CallCounts { puts: 2, conflicts: 1, reads: 1, pages: 1, ..ONE_PUT });
}

#[tokio::test]
async fn caching_can_be_switched_off() {
    let directory: Directory = directory();
    let settings = SaveSettings { remembered: 0, ..SaveSettings::default() };
    let clock = Arc::new(super::directory::StepClock::default());
    let saves = eventsrc_core::SaveApi::with(
        Arc::clone(&directory),
        settings,
        clock,
        Arc::new(eventsrc_core::clock::Randomness::seeded(1)),
    );
    for _ in 0..3 {
        let _ = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
        assert_eq!(directory.take(), CallCounts { latest: 1, ..ONE_PUT });
    }
}

#[tokio::test]
async fn a_zone_marks_what_it_writes() {
    use eventsrc_core::Sequence;
    use eventsrc_core::stream::{Zone, ZonedSequence};
    let storage: Arc<MemoryStorage<Letter, ZonedSequence, Entry>> = Arc::default();
    let in_zone = |zone| {
        eventsrc_core::SaveApi::with(
            Arc::clone(&storage),
            SaveSettings { zone: Zone(zone), ..SaveSettings::default() },
            Arc::new(super::directory::StepClock::default()),
            Arc::new(eventsrc_core::clock::Randomness::seeded(1)),
        )
    };
    let (north, south) = (in_zone(1), in_zone(2));
    let mut sequences = Vec::new();
    for saves in [&north, &south, &south, &north] {
        let saved = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
        sequences.push((saved.sequence.number(), saved.sequence.zone().0));
    }
    assert_eq!(sequences, [(1, 1), (2, 2), (3, 2), (4, 1)]);
}
