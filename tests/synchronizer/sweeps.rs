//! A lost last commit leaves no gap, so a sweep compares heads with positions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventsrc_core::feed::Change;
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{HeadsOf, Put, ScanStorage, Segment};
use eventsrc_core::synchronizer::{SweepReport, SynchronizerSettings};
use eventsrc_core::{Commit, EventStorage, Head, StorageError, StreamName, Synchronizer};
use eventsrc_tests::HANG;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::Semaphore;
use tokio::time::Duration;

use super::set_up::{
    Storage, feed, follow, payloads, place, put, settings, storage, synchronizer, token, until, view,
};

#[tokio::test]
async fn p10_a_dropped_tail_is_repaired_by_the_sweep() {
    let (storage, view) = (storage(), view());
    let first = put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[2]).await;
    let every = SynchronizerSettings { sweep_every: Some(Duration::from_millis(1)), ..settings() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), every);
    let (hand, feed) = feed();
    hand.commits([&first]);
    drop(hand);
    synchronizer.follow(feed).await.unwrap();
    until("the sweep", || async { payloads(&view, "a/1") == [1, 2] }).await;
    put(&storage, "a/1", &[3]).await;
    until("another sweep", || async { payloads(&view, "a/1") == [1, 2, 3] }).await;
}

#[tokio::test]
async fn p10_without_the_sweep_a_dropped_tail_stays_missing() {
    let (storage, view) = (storage(), view());
    let first = put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[2]).await;
    follow(&storage, &view, |hand| hand.commits([&first])).await;
    assert_eq!(payloads(&view, "a/1"), [1]);
}

#[tokio::test]
async fn a_sweep_reports_its_findings_and_waits_until_they_are_repaired() {
    let (storage, view) = (storage(), view());
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        put(&storage, name, &[1]).await;
    }
    let synchronizer = synchronizer(&storage, &view);
    let second = put(&storage, "a/2", &[2]).await;
    synchronizer.catch_up(&token(&second), HANG).await.unwrap();
    assert_eq!(synchronizer.sweep().await.unwrap(), SweepReport { streams: 3, behind: 2 });
    for name in ["a/1", "a/2", "a/3"] {
        assert!(place(&view, name).position.is_some(), "{name}");
    }
    assert_eq!(synchronizer.sweep().await.unwrap(), SweepReport { streams: 3, behind: 0 });
}

#[tokio::test]
async fn lag_counts_what_a_sweep_found() {
    let (storage, view) = (storage(), view());
    put(&storage, "a/1", &[1, 2]).await;
    put(&storage, "a/1", &[3]).await;
    let failing = Arc::new(super::failing_view_store::Failing::new(Arc::clone(&view)));
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), settings());
    failing.fail(true);
    let sweeping = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.sweep().await }
    });
    failing.fail_applying_only();
    until("the lag to be seen", || async { synchronizer.status().await.unwrap().lag_events == 3 }).await;
    let status = synchronizer.status().await.unwrap();
    assert!(status.lag > Duration::from_secs(1), "the event is of 1970: {:?}", status.lag);
    assert!(
        status.last_errors.iter().any(|error| format!("{error:?}").contains("out of reach")),
        "{status:?}"
    );
    failing.fail(false);
    sweeping.await.unwrap().unwrap();
    let status = synchronizer.status().await.unwrap();
    assert_eq!((status.lag_events, status.applied_events, status.lag), (0, 3, Duration::ZERO));
    until("the failure to end", || async { synchronizer.status().await.unwrap().last_errors.is_empty() })
        .await;
}

/// A storage that returns heads only when the test permits it.
struct GatedStorage {
    storage: Storage,
    gate: Semaphore,
    sweeps: AtomicUsize,
}

impl EventStorage for GatedStorage {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    async fn put(
        &self,
        commit: Arc<Commit<StreamName, u64, i64>>,
    ) -> Result<Put<StreamName, u64, i64>, StorageError> {
        self.storage.put(commit).await
    }

    async fn recent(&self, key: &StreamName, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        self.storage.recent(key, count).await
    }

    fn events(
        &self,
        key: &StreamName,
        from: Option<u64>,
    ) -> BoxStream<'_, Result<Page<StreamName, u64, i64>, StorageError>> {
        self.storage.events(key, from)
    }
}

impl ScanStorage for GatedStorage {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<Page<StreamName, u64, i64>, StorageError>> {
        self.storage.scan(segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        let opened = async {
            self.gate.acquire().await.expect("it is never closed").forget();
        };
        stream::once(opened).flat_map(move |()| self.storage.heads(segment)).boxed()
    }
}

#[tokio::test]
async fn callers_during_a_sweep_share_the_next_one_and_block_nothing() {
    let (storage, view) = (storage(), view());
    put(&storage, "a/1", &[1]).await;
    let gated =
        GatedStorage { storage: Arc::clone(&storage), gate: Semaphore::new(0), sweeps: AtomicUsize::new(0) };
    let gated = Arc::new(gated);
    let synchronizer = Synchronizer::start(Arc::clone(&gated), Arc::clone(&view), settings());
    let (hand, feed) = feed();
    let following = tokio::spawn(async move { synchronizer.follow(feed).await });
    hand.changes(vec![Change::Anything]);
    until("the first sweep", || async { gated.sweeps.load(Ordering::SeqCst) == 1 }).await;

    for _ in 0..20 {
        hand.changes(vec![Change::Anything]);
    }
    hand.commits([&put(&storage, "a/2", &[2]).await]);
    until("the commits after them", || async { payloads(&view, "a/2") == [2] }).await;
    assert_eq!(hand.acknowledged(), 1, "no sweep has read the heads yet");

    gated.gate.add_permits(1);
    until("the first one's acknowledgement", || async { hand.acknowledged() == 2 }).await;
    assert_eq!(payloads(&view, "a/1"), [1]);
    gated.gate.add_permits(1);
    until("all acknowledgements", || async { hand.acknowledged() == 22 }).await;
    assert_eq!(gated.sweeps.load(Ordering::SeqCst), 2);
    drop(hand);
    following.await.unwrap().unwrap();
}
