//! Payloads and folded values that would not come back: each backend refuses them with a codec that checks, and stores
//! nothing.

use std::error::Error;
use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::codec::{CodecError, Json, Postcard};
use eventsrc_core::commit::vec1;
use eventsrc_core::save::{Context, Known, PreconditionFailed, SaveGate};
use eventsrc_core::snapshot::{Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{
    Commit, Decider, ErrorKind, Event, EventStorage, Head, Metadata, Operation, SaveApi, StorageError,
    Timestamp, fold_fn,
};
use eventsrc_testkit::conformance::{Backend, Sample, SampleKey, SnapshotBackend, Unreadable};
use futures::future::join_all;

use super::backends::{dynamo_with, postgres_with, sqlite_with};

const LOST: Sample = Sample::Unreadable(Unreadable);

fn insert<K: Known>(payload: Sample) -> Operation<Sample, PreconditionFailed, K> {
    Operation::insert(payload)
}

fn assert_refused(error: &StorageError) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    assert!(matches!(cause, Some(CodecError::Lossy { .. })), "{error:?}");
}

async fn events_are_refused<B: Backend>(backend: B)
where
    B::Storage: EventStorage<Key = SampleKey, Sequence = u64, Payload = Sample>,
{
    let location = backend.create().await;
    let storage = Arc::new(backend.open(&location).await);
    let key = SampleKey::from("a");
    let time = Timestamp::from_second(1_800_000_000).unwrap();
    let commit = Commit {
        key: key.clone(),
        first: 1,
        previous: None,
        time,
        metadata: Metadata::new(Randomness::from_system().commit_id(time)),
        payloads: vec1![Sample::Nothing, LOST, Sample::Nothing].into(),
    };
    let error = storage.put(Arc::new(commit)).await.unwrap_err();
    assert_refused(&error);
    assert_eq!((error.stream(), error.sequence()), (Some("sample/a"), Some("2")));
    assert!(storage.latest(&key).await.unwrap().is_none());

    let saves = SaveApi::new(Arc::clone(&storage));
    let error = saves.save(&key, insert(LOST)).await.unwrap_err();
    assert!(!error.unknown, "nothing is stored");
    assert_refused(&error.source);
    // The writer goes on, and the id of the refused commit is free.
    let context = Context { commit_id: Some(error.commit_id), ..Context::default() };
    let saved = saves.save_with(&key, &context, insert(Sample::Nothing)).await.unwrap();
    assert_eq!(saved.saved().expect("no other writer is active").sequence, 1);
}

async fn snapshots_are_refused<B: SnapshotBackend>(backend: B)
where
    B::Storage: SnapshotStorage<Key = SampleKey, Sequence = u64, Value = Sample>,
{
    let location = backend.create().await;
    let snapshots = backend.open(&location, "refused").await;
    let key = SampleKey::from("a");
    let time = Timestamp::from_second(1_800_000_000).unwrap();
    let head = Head { sequence: 7, time, commit_id: Some(Randomness::from_system().commit_id(time)) };
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        let error = snapshots.put(&key, 1, &Snapshot::new(Some(LOST), Some(head)), mode).await.unwrap_err();
        assert_refused(&error);
        assert_eq!(error.sequence(), Some("7"));
        assert!(snapshots.get(&key, 1, SnapshotAt::Latest).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_stores_nothing_that_would_not_come_back() {
    events_are_refused(sqlite_with(Json)).await;
    events_are_refused(sqlite_with(Postcard)).await;
    snapshots_are_refused(sqlite_with(Json)).await;
    snapshots_are_refused(sqlite_with(Postcard)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_stores_nothing_that_would_not_come_back() {
    events_are_refused(postgres_with(Json)).await;
    events_are_refused(postgres_with(Postcard)).await;
    snapshots_are_refused(postgres_with(Json)).await;
    snapshots_are_refused(postgres_with(Postcard)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamo_stores_nothing_that_would_not_come_back() {
    events_are_refused(dynamo_with(Json)).await;
    events_are_refused(dynamo_with(Postcard)).await;
    snapshots_are_refused(dynamo_with(Json)).await;
    snapshots_are_refused(dynamo_with(Postcard)).await;
}

/// Operations that a gate saves in one commit are saved without those that cannot be stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_operation_of_a_gate_fails_alone() {
    let backend = sqlite_with::<u64, _>(Json);
    let directory = Backend::create(&backend).await;
    let storage = Arc::new(Backend::open(&backend, &directory).await);
    let count = fold_fn(|_: &SampleKey, count: &mut Option<u64>, _: Event<'_, SampleKey, u64, Sample>| {
        *count = Some(count.unwrap_or(0) + 1);
    });
    let gate = SaveGate::new(Arc::new(Decider::new(Arc::clone(&storage), count)));
    let key = SampleKey::from("a");
    let is_lost = |at| [9, 41].contains(&at);
    let saves = (0..64).map(|at| gate.save(&key, insert(if is_lost(at) { LOST } else { Sample::Nothing })));
    for (at, outcome) in join_all(saves).await.into_iter().enumerate() {
        match outcome {
            Ok(outcome) => assert!(!is_lost(at) && outcome.saved().is_some(), "operation {at}"),
            Err(error) => {
                assert!(is_lost(at) && !error.unknown, "operation {at}: {error:?}");
                assert_eq!(error.source.kind(), ErrorKind::Invalid, "operation {at}: {error:?}");
            }
        }
    }
    assert_eq!(storage.latest(&key).await.unwrap().map(|head| head.sequence), Some(62));
    let commits = storage.recent(&key, 64).await.unwrap().len();
    assert!(commits <= 12, "{commits} commits: those that can be stored are still saved together");
}
