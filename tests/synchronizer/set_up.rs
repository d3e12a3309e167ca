//! A storage, a view of it, and a feed that the test controls.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventsrc_core::commit::Vec1;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery};
use eventsrc_core::storage::{CountingStorage, Put};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{MemoryView, StreamPosition, ViewError};
use eventsrc_core::{
    Commit, CommitId, Event, EventStorage, MemoryStorage, Metadata, StorageError, StreamName, Synchronizer,
    Timestamp, Token, ViewDefinition,
};
use eventsrc_tests::HANG;
use tokio::sync::mpsc;
use uuid::Uuid;

pub(super) type Storage = Arc<CountingStorage<MemoryStorage<StreamName, u64, i64>>>;
pub(super) type StoredCommit = Arc<Commit<StreamName, u64, i64>>;
pub(super) type Rows = BTreeMap<String, Row>;
pub(super) type View = Arc<MemoryView<StreamName, u64, i64, Rows>>;

/// The row of a stream: every payload, in the order of application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    pub(super) payloads: Vec<i64>,
    pub(super) commits: Vec<CommitId>,
}

/// A payload that the view rejects, and one at which it panics.
pub(super) const REFUSED: i64 = -1;
pub(super) const PANICS: i64 = -2;

pub(super) fn storage() -> Storage {
    Arc::new(CountingStorage::new(MemoryStorage::default()))
}

pub(super) fn view() -> View {
    view_that(|_| Ok(()))
}

/// A view of the streams of category `a` that calls `check` before it applies a payload.
pub(super) fn view_that(check: impl Fn(i64) -> Result<(), ViewError> + Send + Sync + 'static) -> View {
    let definition = ViewDefinition::new("rows", ["a"]).unwrap();
    Arc::new(MemoryView::new(definition, move |rows: &mut Rows, event: Event<'_, StreamName, u64, i64>| {
        check(*event.payload)?;
        let row = rows.entry(event.key().to_string()).or_default();
        row.payloads.push(*event.payload);
        if event.index == 0 {
            row.commits.push(event.metadata().commit_id);
        }
        Ok(())
    }))
}

/// A view that rejects one payload and panics at another.
pub(super) fn rejecting_view() -> View {
    view_that(|payload| match payload {
        REFUSED => Err("this cannot be applied".into()),
        PANICS => panic!("this is beyond me"),
        _ => Ok(()),
    })
}

/// Settings with no sweeps and short waits.
pub(super) fn settings() -> SynchronizerSettings {
    let mut settings = SynchronizerSettings { workers: 3, sweep_every: None, ..Default::default() };
    settings.retry.longest_wait = Duration::from_millis(20);
    settings
}

pub(super) fn synchronizer(storage: &Storage, view: &View) -> Synchronizer<View> {
    Synchronizer::start(Arc::clone(storage), Arc::clone(view), settings())
}

pub(super) fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

/// Stores a commit at the end of the stream.
pub(super) async fn put(storage: &Storage, name: &str, payloads: &[i64]) -> StoredCommit {
    let key = stream(name);
    let first = storage.latest(&key).await.unwrap().map_or(1, |head| head.sequence + 1);
    let commit = Arc::new(Commit {
        key,
        first,
        previous: None,
        time: Timestamp::from_second(1_000_000 + first as i64).unwrap(),
        metadata: Metadata::new(CommitId(commit_id(name, first))),
        payloads: Vec1::try_from_vec(payloads.to_vec()).unwrap().into(),
    });
    assert!(matches!(storage.put(Arc::clone(&commit)).await, Ok(Put::Stored)));
    commit
}

/// An id that is unique to the stream and the sequence.
fn commit_id(name: &str, first: u64) -> Uuid {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Uuid::from_u64_pair(hasher.finish(), first)
}

pub(super) fn token(commit: &StoredCommit) -> Token {
    Token::claimed(&commit.key, commit.last()).unwrap()
}

pub(super) fn rows(view: &View) -> Rows {
    view.read(&[], Rows::clone).1
}

pub(super) fn payloads(view: &View, name: &str) -> Vec<i64> {
    rows(view).remove(name).unwrap_or_default().payloads
}

pub(super) fn place(view: &View, name: &str) -> StreamPosition<u64> {
    view.read(&[stream(name)], |_| ()).0[0]
}

/// Waits until `condition` holds.
pub(super) async fn until<Fut: Future<Output = bool>>(what: &str, condition: impl Fn() -> Fut) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, waiting).await.unwrap_or_else(|_| panic!("timed out: {what}"));
}

/// A feed, and the handle by which the test fills it.
pub(super) fn feed() -> (FeedHandle, ControlledFeed) {
    let (hand, deliveries) = mpsc::unbounded_channel();
    (FeedHandle { hand, acknowledged: Arc::default() }, ControlledFeed(deliveries))
}

pub(super) struct FeedHandle {
    hand: mpsc::UnboundedSender<Result<Brought, StorageError>>,
    acknowledged: Arc<AtomicUsize>,
}

type Brought = Delivery<StreamName, u64, i64>;

impl FeedHandle {
    /// Delivers these commits, in this order.
    pub(super) fn commits<'a>(&self, commits: impl IntoIterator<Item = &'a StoredCommit>) {
        self.changes(commits.into_iter().map(|commit| Change::Commit(Arc::clone(commit))).collect());
    }

    pub(super) fn changes(&self, changes: Vec<Change<StreamName, u64, i64>>) {
        let acknowledged = Arc::clone(&self.acknowledged);
        let tell = move || {
            acknowledged.fetch_add(1, Ordering::SeqCst);
        };
        let acknowledgement = Acknowledgement::new(tell);
        self.hand.send(Ok(Delivery { changes, acknowledgement })).unwrap();
    }

    pub(super) fn fail(&self, error: StorageError) {
        self.hand.send(Err(error)).unwrap();
    }

    /// Number of acknowledged deliveries.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

pub(super) struct ControlledFeed(mpsc::UnboundedReceiver<Result<Brought, StorageError>>);

impl ChangeFeed for ControlledFeed {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    async fn next(&mut self) -> Result<Option<Brought>, StorageError> {
        self.0.recv().await.transpose()
    }
}

/// Starts a synchronizer of `view` that applies what `hand` delivers, and stops it.
pub(super) async fn follow(storage: &Storage, view: &View, hand: impl FnOnce(&FeedHandle)) {
    let synchronizer = synchronizer(storage, view);
    let (held, feed) = feed();
    hand(&held);
    drop(held);
    tokio::time::timeout(HANG, synchronizer.follow(feed)).await.expect("the feed ends").unwrap();
    synchronizer.stop().await;
}
