//! Values are folds: at the latest event, at a sequence, at a time, and as a history.

use std::sync::Arc;

use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::snapshot::{MemorySnapshots, SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{Consistency, Context, Operation, Query, QueryApi, Snapshot, fold_fn};
use futures::TryStreamExt;

use super::directory::{
    A, ByName, Directory, Entry, Letter, by_name, deleted, directory, saves, second, set,
};

async fn save_all(directory: &Directory, events: impl IntoIterator<Item = Entry>) {
    let saves = saves(Arc::clone(directory));
    for event in events {
        let outcome = saves.save(&A, Operation::insert(event)).await.unwrap();
        assert!(outcome.saved().is_some());
    }
}

async fn get(query: &impl Query<Key = String, Value = u32>, name: &str) -> Option<u32> {
    query.get(&name.to_owned(), Consistency::LatestEvent).await.unwrap()
}

#[tokio::test]
async fn added_values_are_returned() {
    let directory = directory();
    save_all(&directory, [set("ada", 1)]).await;
    assert_eq!(get(&by_name(Arc::clone(&directory)), "ada").await, Some(1));
}

#[tokio::test]
async fn a_deleted_value_is_reported_as_deleted() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), deleted("ada")]).await;
    let query = by_name(Arc::clone(&directory));
    let snapshot = query.snapshot(&"ada".to_owned(), Consistency::LatestEvent).await.unwrap();
    assert!(snapshot.is_deleted());
    assert_eq!(snapshot.sequence(), Some(2));
    let never = query.snapshot(&"zoe".to_owned(), Consistency::LatestEvent).await.unwrap();
    assert_eq!(never, Snapshot::initial(None), "a stream without events has neither value nor deletion");
}

#[tokio::test]
async fn deleting_a_missing_value_has_no_effect() {
    let directory = directory();
    save_all(&directory, [deleted("ada"), set("abe", 7)]).await;
    assert_eq!(get(&by_name(Arc::clone(&directory)), "ada").await, None);
    assert_eq!(get(&by_name(Arc::clone(&directory)), "abe").await, Some(7));
}

#[tokio::test]
async fn one_stream_serves_several_query_keys() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("abe", 2), set("ada", 3), deleted("abe"), set("ann", 4)]).await;
    let query = by_name(Arc::clone(&directory));
    assert_eq!(
        (get(&query, "ada").await, get(&query, "abe").await, get(&query, "ann").await),
        (Some(3), None, Some(4))
    );
}

#[tokio::test]
async fn a_stream_is_replayed_to_a_sequence_also_inside_a_commit() {
    let directory = directory();
    let batch = [set("ada", 1), set("ada", 2), set("ada", 3)].map(Operation::insert);
    let _ =
        saves(Arc::clone(&directory)).save_all(&A, &eventsrc_core::Context::default(), &batch).await.unwrap();
    let query = by_name(Arc::clone(&directory));
    for sequence in 1..=3 {
        let snapshot = query.at_sequence(&"ada".to_owned(), sequence).await.unwrap();
        assert_eq!((snapshot.value, snapshot.sequence()), (Some(sequence as u32), Some(sequence)));
    }
    let beyond = query.at_sequence(&"ada".to_owned(), 99).await.unwrap();
    assert_eq!(beyond.sequence(), Some(3), "beyond the end is the latest");
}

#[tokio::test]
async fn a_stream_is_replayed_to_a_time() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("ada", 2), deleted("ada")]).await;
    let query = by_name(Arc::clone(&directory));
    let history: Vec<_> = query.history("ada".to_owned(), None).try_collect().await.unwrap();
    for snapshot in history {
        let at = query.at_time(&"ada".to_owned(), snapshot.time().unwrap()).await.unwrap();
        assert_eq!(at, snapshot, "the time of an event is included");
    }
    assert_eq!(query.at_time(&"ada".to_owned(), second(-1)).await.unwrap(), Snapshot::initial(None));
}

#[tokio::test]
async fn a_history_is_the_snapshot_after_each_event() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("abe", 9), set("ada", 2), deleted("ada")]).await;
    let query = by_name(Arc::clone(&directory));
    let values = |from| {
        let history = query.history("ada".to_owned(), from);
        history.map_ok(|snapshot| (snapshot.sequence().unwrap(), snapshot.value)).try_collect::<Vec<_>>()
    };
    assert_eq!(values(None).await.unwrap(), [(1, Some(1)), (2, Some(1)), (3, Some(2)), (4, None)]);
    assert_eq!(values(Some(3)).await.unwrap(), [(3, Some(2)), (4, None)]);
    assert_eq!(values(Some(5)).await.unwrap(), []);
}

#[tokio::test]
async fn a_query_maps_its_value_and_its_key() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("ada", 2)]).await;
    let query = by_name(Arc::clone(&directory))
        .map(|value| format!("#{value}"))
        .contramap(|(name,): &(&str,)| (*name).to_owned());
    assert_eq!(query.get(&("ada",), Consistency::LatestEvent).await.unwrap().as_deref(), Some("#2"));
    assert_eq!(query.at_sequence(&("ada",), 1).await.unwrap().value.as_deref(), Some("#1"));
    assert_eq!(query.history(("ada",), None).try_collect::<Vec<_>>().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_closure_is_a_fold() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("abe", 2)]).await;
    let count =
        fold_fn(|_: &Letter, count: &mut Option<usize>, _: eventsrc_core::Event<'_, Letter, u64, Entry>| {
            *count = Some(count.unwrap_or(0) + 1);
        });
    let query = QueryApi::new(Arc::clone(&directory), count);
    assert_eq!(query.get(&A, Consistency::LatestEvent).await.unwrap(), Some(2));
}

/// A fold with a value before any event, whose version the test chooses.
struct Total(u32);

impl eventsrc_core::Fold<Letter, u64, Entry> for Total {
    type Key = Letter;
    type Value = u32;

    fn initial(&self, _: &Letter) -> Option<u32> {
        Some(100)
    }

    fn apply(
        &self,
        _: &Letter,
        total: &mut Option<u32>,
        event: eventsrc_core::Event<'_, Letter, u64, Entry>,
    ) {
        if let Entry::Set { value, .. } = event.payload {
            *total = total.map(|total| total + value);
        }
    }

    fn version(&self) -> u32 {
        self.0
    }
}

#[tokio::test]
async fn a_fold_begins_with_its_initial_value() {
    let directory = directory();
    let query = QueryApi::new(Arc::clone(&directory), Total(1));
    assert_eq!(query.get(&A, Consistency::LatestEvent).await.unwrap(), Some(100));
    save_all(&directory, [set("ada", 1), set("abe", 2)]).await;
    assert_eq!(query.get(&A, Consistency::LatestEvent).await.unwrap(), Some(103));
}

#[tokio::test]
async fn with_or_without_snapshots_the_answers_are_the_same() {
    let directory = directory();
    let snapshots = Arc::new(MemorySnapshots::default());
    let plain = by_name(Arc::clone(&directory));
    let kept =
        by_name(Arc::clone(&directory)).with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Every(3));
    let name = "ada".to_owned();
    for round in 0..20 {
        save_all(&directory, [if round % 5 == 4 { deleted("ada") } else { set("ada", round) }]).await;
        let (a, b) =
            (plain.snapshot(&name, Consistency::LatestEvent), kept.snapshot(&name, Consistency::LatestEvent));
        assert_eq!(a.await.unwrap(), b.await.unwrap());
        kept.flush().await;
        for sequence in 1..=u64::from(round) + 2 {
            let at = (
                plain.at_sequence(&name, sequence).await.unwrap(),
                kept.at_sequence(&name, sequence).await.unwrap(),
            );
            assert_eq!(at.0, at.1, "at {sequence}");
        }
        let time = second(i64::from(round) / 2);
        assert_eq!(plain.at_time(&name, time).await.unwrap(), kept.at_time(&name, time).await.unwrap());
        let histories: (Vec<_>, Vec<_>) = (
            plain.history(name.clone(), Some(u64::from(round))).try_collect().await.unwrap(),
            kept.history(name.clone(), Some(u64::from(round))).try_collect().await.unwrap(),
        );
        assert_eq!(histories.0, histories.1);
    }
    assert!(snapshots.get(&name, 1, SnapshotAt::Latest).await.unwrap().is_some(), "the policy kept one");
}

#[tokio::test]
async fn the_latest_snapshot_is_answered_without_reading_an_event() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("ada", 2)]).await;
    let query =
        by_name(Arc::clone(&directory)).with_snapshots(MemorySnapshots::default(), SnapshotPolicy::Every(1));
    let name = "ada".to_owned();
    assert_eq!(
        query.get(&name, Consistency::LatestSnapshot).await.unwrap(),
        Some(2),
        "there is none, so it is folded"
    );
    query.flush().await;
    save_all(&directory, [set("ada", 3)]).await;
    directory.take();
    assert_eq!(query.get(&name, Consistency::LatestSnapshot).await.unwrap(), Some(2));
    assert_eq!(directory.take().reads, 0);
    assert_eq!(query.get(&name, Consistency::LatestEvent).await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_changed_fold_never_reads_an_old_snapshot() {
    let directory = directory();
    save_all(&directory, [set("ada", 1)]).await;
    let snapshots = Arc::new(MemorySnapshots::default());
    let wrong = Snapshot::new(Some(5_000), directory_head(&directory).await);
    snapshots.put(&A, 1, &wrong, SnapshotMode::Cache).await.unwrap();
    let at_version = |version| {
        QueryApi::new(Arc::clone(&directory), Total(version))
            .with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Never)
    };
    assert_eq!(at_version(1).get(&A, Consistency::LatestEvent).await.unwrap(), Some(5_000));
    assert_eq!(at_version(2).get(&A, Consistency::LatestEvent).await.unwrap(), Some(101));
}

#[tokio::test]
async fn a_refresh_from_a_given_start_replaces_a_wrong_snapshot() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("ada", 2)]).await;
    let snapshots = Arc::new(MemorySnapshots::default());
    let wrong = Snapshot::new(Some(9), directory_head(&directory).await);
    let name = "ada".to_owned();
    snapshots.put(&name, 1, &wrong, SnapshotMode::Cache).await.unwrap();
    let query = by_name(Arc::clone(&directory)).with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Never);
    assert_eq!(get(&query, "ada").await, Some(9));
    let mended = query.refresh(&name, Some(SnapshotAt::Before(2)), SnapshotMode::Cache).await.unwrap();
    assert_eq!(mended.value, Some(2));
    assert_eq!(get(&query, "ada").await, Some(2));
    snapshots.put(&name, 1, &wrong, SnapshotMode::Cache).await.unwrap();
    query.refresh(&name, None, SnapshotMode::Cache).await.unwrap();
    assert_eq!(get(&query, "ada").await, Some(2));
}

#[tokio::test]
async fn an_epoch_snapshot_is_kept_for_queries_of_old_values() {
    let directory = directory();
    save_all(&directory, (0..10).map(|value| set("ada", value))).await;
    let snapshots = Arc::new(MemorySnapshots::default());
    let query =
        by_name(Arc::clone(&directory)).with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Every(1));
    let name = "ada".to_owned();
    query.refresh(&name, None, SnapshotMode::Epoch).await.unwrap();
    save_all(&directory, (10..20).map(|value| set("ada", value))).await;
    assert_eq!(get(&query, "ada").await, Some(19));
    query.flush().await;
    let earliest = snapshots.get(&name, 1, SnapshotAt::Earliest).await.unwrap().unwrap();
    let latest = snapshots.get(&name, 1, SnapshotAt::Latest).await.unwrap().unwrap();
    assert_eq!((earliest.sequence(), latest.sequence()), (Some(10), Some(20)));
    assert_eq!(query.at_sequence(&name, 12).await.unwrap().value, Some(11));
}

#[tokio::test]
async fn an_answer_has_its_token() {
    let directory = directory();
    save_all(&directory, [set("ada", 1), set("ada", 2)]).await;
    let query = by_name(Arc::clone(&directory));
    let name = "ada".to_owned();
    let snapshot = query.snapshot(&name, Consistency::LatestEvent).await.unwrap();
    let token = query.token(&name, &snapshot);
    assert_eq!(token.sequence::<u64, _>(&A), Some(2));
    assert!(token.is_trusted());
    assert!(query.token(&name, &Snapshot::initial(None)).is_empty());
}

async fn directory_head(directory: &Directory) -> Option<eventsrc_core::Head<u64>> {
    eventsrc_core::EventStorage::latest(directory, &A).await.unwrap()
}

#[test]
fn the_fold_that_is_tested_is_at_version_one() {
    assert_eq!(eventsrc_core::Fold::<Letter, u64, Entry>::version(&ByName), 1);
}

/// A writer would put right after it, inside the commit, and not every backend rejects that.
#[tokio::test]
async fn the_token_of_a_value_inside_a_commit_is_not_trusted() {
    let directory = directory();
    let both = [Operation::insert(set("ada", 1)), Operation::insert(set("ada", 2))];
    saves(Arc::clone(&directory)).save_all(&A, &Context::default(), &both).await.unwrap().saved().unwrap();
    let (query, name) = (by_name(Arc::clone(&directory)), "ada".to_owned());
    let mut history: Vec<_> = query.history(name.clone(), None).try_collect().await.unwrap();
    history.push(query.at_sequence(&name, 1).await.unwrap());
    history.push(query.at_sequence(&name, 2).await.unwrap());
    let inside: Vec<_> = history.iter().map(Snapshot::is_inside_commit).collect();
    assert_eq!(inside, [true, false, true, false]);
    for snapshot in history {
        assert_eq!(query.token(&name, &snapshot).is_trusted(), !snapshot.is_inside_commit());
    }
}

/// Snapshots whose writes never end.
struct StuckWrites(std::sync::atomic::AtomicU32);

impl SnapshotStorage for StuckWrites {
    type Key = String;
    type Sequence = u64;
    type Value = u32;

    async fn get(
        &self,
        _: &String,
        _: u32,
        _: SnapshotAt<u64>,
    ) -> Result<Option<Snapshot<u64, u32>>, eventsrc_core::StorageError> {
        Ok(None)
    }

    async fn put(
        &self,
        _: &String,
        _: u32,
        _: &Snapshot<u64, u32>,
        _: SnapshotMode,
    ) -> Result<(), eventsrc_core::StorageError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test]
async fn nothing_waits_for_a_snapshot_to_be_stored() {
    let directory = directory();
    let stuck = Arc::new(StuckWrites(std::sync::atomic::AtomicU32::new(0)));
    let saves = Arc::new(saves(Arc::clone(&directory)));
    let decider = eventsrc_core::Decider::with(saves, |storage| {
        by_name(storage).with_snapshots(Arc::clone(&stuck), SnapshotPolicy::Every(1))
    });
    let name = "ada".to_owned();
    for expected in 1..=20 {
        let insert = Operation::<_, eventsrc_core::save::PreconditionFailed, _>::insert(set("ada", 1));
        let saved = decider.save(&name, insert).await.unwrap().saved().unwrap();
        assert_eq!(saved.sequence, expected);
        assert_eq!(get(decider.query(), "ada").await, Some(1));
        tokio::task::yield_now().await;
    }
    let started = stuck.0.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=4).contains(&started), "{started} writes are under way: their number has a limit");
}
