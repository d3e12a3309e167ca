//! Faults that the faulty feed and the faulty view inject, from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::vec1;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery, NotifyingStorage};
use eventsrc_core::storage::Put;
use eventsrc_core::view::{Applied, Batch, CommitRun, MemoryView, ViewStore};
use eventsrc_core::{
    Commit, ErrorKind, EventStorage, MemoryStorage, Metadata, StorageError, StreamName, Timestamp,
    ViewDefinition,
};
use eventsrc_testkit::{Faults, FaultyFeed, FaultyView, FeedFaults, InjectedInFeed};
use futures::FutureExt;
use futures::future::BoxFuture;

type C = Arc<Commit<StreamName, u64, u32>>;

fn stream(id: u64) -> StreamName {
    StreamName::new("sample", &id.to_string()).unwrap()
}

fn commit(id: u64, number: u64) -> C {
    let ids = Randomness::seeded(id << 32 | number);
    let metadata = Metadata::new(ids.commit_id(Timestamp::UNIX_EPOCH));
    Arc::new(Commit {
        key: stream(id),
        first: number,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata,
        payloads: vec1![7].into(),
    })
}

/// `length` commits of each of `streams` streams, in turns.
fn commits(streams: u64, length: u64) -> Vec<C> {
    (1..=length).flat_map(|number| (0..streams).map(move |id| commit(id, number))).collect()
}

/// A feed that hands over deliveries and records which of them were acknowledged, in order.
struct Deliveries {
    left: VecDeque<(usize, Vec<C>)>,
    acknowledged: Arc<Mutex<Vec<usize>>>,
}

impl Deliveries {
    fn of(commits: &[C], size: usize) -> Self {
        let left = commits.chunks(size).map(<[_]>::to_vec).enumerate().collect();
        Self { left, acknowledged: Arc::default() }
    }
}

impl ChangeFeed for Deliveries {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = u32;

    async fn next(&mut self) -> Result<Option<Delivery<StreamName, u64, u32>>, StorageError> {
        Ok(self.left.pop_front().map(|(index, commits)| {
            let acknowledged = Arc::clone(&self.acknowledged);
            Delivery {
                changes: commits.into_iter().map(Change::Commit).collect(),
                acknowledgement: Acknowledgement::new(move || acknowledged.lock().unwrap().push(index)),
            }
        }))
    }
}

/// All changes of a feed. Each delivery is acknowledged.
async fn drained(mut feed: impl ChangeFeed<Key = StreamName, Sequence = u64, Payload = u32>) -> Vec<C> {
    let mut found = Vec::new();
    while let Some(delivery) = feed.next().await.unwrap() {
        for change in delivery.changes {
            let Change::Commit(commit) = change else { panic!("a change that was not put in: {change:?}") };
            found.push(commit);
        }
        delivery.acknowledgement.acknowledge();
    }
    found
}

/// The commits that come through the faulty feed, and the injected faults.
async fn through(commits: &[C], faults: FeedFaults) -> (Vec<C>, InjectedInFeed) {
    let feed = FaultyFeed::new(Deliveries::of(commits, 5), faults, Arc::new(SystemClock));
    let source = Arc::clone(feed.source());
    (drained(feed).await, source.injected())
}

fn by_stream(commits: &[C]) -> BTreeMap<&StreamName, Vec<u64>> {
    let mut streams = BTreeMap::<_, Vec<u64>>::new();
    for commit in commits {
        streams.entry(&commit.key).or_default().push(commit.first);
    }
    streams
}

#[tokio::test]
async fn a_feed_without_faults_is_unchanged() {
    let put = commits(4, 25);
    let (found, injected) = through(&put, FeedFaults::none()).await;
    assert_eq!((found, injected), (put, InjectedInFeed::default()));
}

#[tokio::test]
async fn repeated_changes_come_once_more_and_later() {
    let put = commits(4, 50);
    let (found, injected) =
        through(&put, FeedFaults { repeated: 0.5, window: 3, ..FeedFaults::none() }).await;
    assert!(injected.repeated > 50, "{injected}");
    assert_eq!(found.len() as u64, put.len() as u64 + injected.repeated);
    let mut first = Vec::new();
    for commit in &found {
        if !first.contains(commit) {
            first.push(Arc::clone(commit));
        }
    }
    assert_eq!(first, put, "each comes first where it came without faults");
}

#[tokio::test]
async fn reordered_changes_are_late_by_the_window_at_most() {
    let put = commits(1, 300);
    let (found, injected) =
        through(&put, FeedFaults { reordered: 0.5, window: 10, ..FeedFaults::none() }).await;
    assert!(injected.reordered > 100, "{injected}");
    assert_ne!(found, put);
    for (at, commit) in found.iter().enumerate() {
        let place = put.iter().position(|other| other == commit).unwrap();
        // A delivery has 5 changes, which come together.
        assert!(at.abs_diff(place) <= 10 + 5, "{commit:?} came at {at} instead of {place}");
    }
    let mut sorted = found;
    sorted.sort_by_key(|commit| commit.first);
    assert_eq!(sorted, put, "nothing is lost or repeated");
}

#[tokio::test]
async fn dropped_changes_are_lost_in_the_middle() {
    let put = commits(2, 100);
    let (found, injected) = through(&put, FeedFaults { dropped: 0.2, ..FeedFaults::none() }).await;
    assert_eq!(found.len() as u64, 200 - injected.dropped);
    assert!(injected.dropped > 20, "{injected}");
    assert!(by_stream(&found).values().all(|numbers| numbers.is_sorted() && numbers.len() < 100));
}

#[tokio::test]
async fn a_stream_that_falls_silent_loses_its_tail() {
    let put = commits(20, 20);
    let (found, injected) = through(&put, FeedFaults { silenced: 0.03, ..FeedFaults::none() }).await;
    assert!(injected.silenced > 3 && injected.dropped == 0, "{injected}");
    assert_eq!(found.len() as u64, 400 - injected.unheard);
    let found = by_stream(&found);
    let whole: Vec<u64> = (1..=20).collect();
    let mut cut = 0;
    for id in 0..20 {
        let numbers = found.get(&stream(id)).cloned().unwrap_or_default();
        assert_eq!(numbers, whole[..numbers.len()], "only the tail of a stream is lost");
        cut += u64::from(numbers.len() < 20);
    }
    assert_eq!(cut, injected.silenced);
}

#[tokio::test]
async fn a_delivery_is_acknowledged_once_its_changes_are_acknowledged_or_dropped() {
    let put = commits(4, 50);
    let deliveries = Deliveries::of(&put, 5);
    let acknowledged = Arc::clone(&deliveries.acknowledged);
    let faults = FeedFaults { delayed: 0.0, ..FeedFaults::seeded(3) };
    let mut feed = FaultyFeed::new(deliveries, faults, Arc::new(SystemClock));
    let mut kept = Vec::new();
    let mut lost = None;
    while let Some(delivery) = feed.next().await.unwrap() {
        // The fifth delivery is never acknowledged.
        if kept.len() == 4 && lost.is_none() {
            lost = Some(delivery.changes);
            drop(delivery.acknowledgement);
        } else {
            kept.push(delivery.acknowledgement);
        }
    }
    let early = acknowledged.lock().unwrap().len();
    assert!(early < 3, "{early} deliveries were acknowledged before their changes were acknowledged");
    // In another order than they came.
    kept.into_iter().rev().for_each(Acknowledgement::acknowledge);
    let mut told = acknowledged.lock().unwrap().clone();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), acknowledged.lock().unwrap().len(), "each is acknowledged once");
    let lost = lost.expect("there are more than four deliveries");
    let open: Vec<usize> = (0..40).filter(|index| !told.contains(index)).collect();
    assert!(!open.is_empty() && open.len() <= lost.len(), "{open:?} are open for the sake of {lost:?}");
}

#[tokio::test]
async fn no_change_is_held_back_while_the_inner_feed_waits() {
    let storage = NotifyingStorage::new(MemoryStorage::<StreamName, u64, u32>::default());
    let faults = FeedFaults { reordered: 1.0, window: 100, ..FeedFaults::none() };
    let mut feed = FaultyFeed::new(storage.subscribe(100), faults, Arc::new(SystemClock));
    for number in 1..=5 {
        assert!(matches!(storage.put(commit(1, number)).await, Ok(Put::Stored)));
        let delivery = feed.next().now_or_never().expect("nothing is waited for").unwrap().unwrap();
        assert_eq!(delivery.changes.len(), 1);
        delivery.acknowledgement.acknowledge();
        assert!(feed.next().now_or_never().is_none(), "there is nothing more");
    }
}

#[tokio::test]
async fn the_same_seed_does_the_same_to_a_feed() {
    async fn found(seed: u64) -> Vec<C> {
        through(&commits(5, 40), FeedFaults { delayed: 0.0, ..FeedFaults::seeded(seed) }).await.0
    }
    assert_eq!(found(1).await, found(1).await);
    assert_ne!(found(1).await, found(2).await);
}

/// A clock that records the requested sleeps and does not sleep.
#[derive(Default)]
struct RecordingClock(Mutex<Vec<Duration>>);

impl Clock for RecordingClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(duration);
        std::future::ready(()).boxed()
    }
}

#[tokio::test]
async fn delays_of_a_feed_are_on_the_clock_that_was_given() {
    let clock = Arc::new(RecordingClock::default());
    let limit = Duration::from_secs(3_600);
    let faults = FeedFaults { delayed: 1.0, longest_delay: limit, ..FeedFaults::none() };
    let given: Arc<dyn Clock> = Arc::<RecordingClock>::clone(&clock);
    let found = drained(FaultyFeed::new(Deliveries::of(&commits(1, 20), 5), faults, given)).await;
    assert_eq!(found.len(), 20);
    let waits = clock.0.lock().unwrap().clone();
    assert_eq!(waits.len(), 5, "before each delivery, and before the end");
    assert!(waits.iter().all(|wait| *wait <= limit), "{waits:?}");
}

type View = MemoryView<StreamName, u64, u32, Vec<u32>>;

fn view(faults: Faults) -> FaultyView<View> {
    let definition = ViewDefinition::new("sample", ["sample"]).unwrap();
    let view =
        MemoryView::new(definition, |rows: &mut Vec<u32>, event: eventsrc_core::Event<'_, _, _, u32>| {
            rows.push(*event.payload);
            Ok(())
        });
    FaultyView::new(view, faults, Arc::new(RecordingClock::default()))
}

fn batch(number: u64) -> Batch<StreamName, u64, u32> {
    let from = number.checked_sub(1).filter(|from| *from > 0);
    Batch::new(vec![CommitRun { stream: stream(1), from, commits: vec![commit(1, number)] }])
}

#[tokio::test]
async fn a_batch_that_fails_before_changes_nothing() {
    let view = view(Faults { seed: 7, failed_before: 1.0, ..Faults::none() });
    let error = view.apply(&batch(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("seed 7"), "{error}");
    assert!(view.view().read(&[], Vec::is_empty).1);
    assert_eq!(view.injected().failed_before, 1);
    assert!(view.positions_of(&[stream(1)]).await.is_err());
}

#[tokio::test]
async fn a_batch_whose_reply_is_lost_is_applied() {
    let view = view(Faults { reply_lost: 1.0, ..Faults::none() });
    view.apply(&batch(1)).await.unwrap_err();
    assert_eq!(view.view().read(&[], Vec::clone).1, [7]);
    assert_eq!(view.injected().replies_lost, 1);
    // A call that only reads is not lost.
    assert_eq!(view.positions_of(&[stream(1)]).await.unwrap()[0].position, Some(1));
}

#[tokio::test]
async fn the_same_seed_fails_the_same_calls_of_a_view() {
    async fn failures(seed: u64) -> Vec<bool> {
        let view = view(Faults::seeded(seed));
        let mut failures = Vec::new();
        for number in 1..=60 {
            let mut failed = view.apply(&batch(number)).await.is_err();
            failures.push(failed);
            while failed {
                // The next call shows whether the batch was applied.
                failed = match view.apply(&batch(number)).await {
                    Ok(Applied::Done | Applied::PositionDiffers) => false,
                    Ok(other) => panic!("a sound batch came to {other:?}"),
                    Err(_) => true,
                };
            }
        }
        failures
    }
    assert_eq!(failures(1).await, failures(1).await);
    assert_ne!(failures(1).await, failures(2).await);
}
