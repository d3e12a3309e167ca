//! The feed of what is stored in this process.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use futures::stream::BoxStream;
use tokio::sync::Notify;

use super::{Acknowledgement, Change, ChangeFeed, Delivery};
use crate::commit::{Commit, Head};
use crate::error::StorageError;
use crate::sequence::Sequence;
use crate::storage::{CommitOf, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use crate::stream::StreamKey;

/// A storage that passes every call on, and tells its subscribers what was stored through it.
///
/// Writers never wait for subscribers. Every commit that is stored after somebody subscribed is handed over to them, or covered by a
/// [`Change::Stream`] or [`Change::Anything`] that comes after it was stored: a put that ended in an error, or was given
/// up by its caller, may have been stored, and one that was [`Put::Repeated`] may be stored with other payloads than those at
/// hand, so of these the stream is named. What others store, in another process or through another handle, is not seen.
#[derive(Clone)]
pub struct Published<St: EventStorage> {
    storage: St,
    board: Arc<Board<St::Key, St::Sequence, St::Payload>>,
}

impl<St: EventStorage> Published<St> {
    /// `storage`, without subscribers yet.
    pub fn new(storage: St) -> Self {
        Self { storage, board: Arc::new(Board { queues: RwLock::default() }) }
    }

    /// The storage.
    pub fn storage(&self) -> &St {
        &self.storage
    }

    /// A feed of what is stored from here on.
    ///
    /// Up to `capacity` commits wait for a slow subscriber. Of those beyond only the streams are kept, each once, and of
    /// more than `capacity` streams only that there were some.
    pub fn subscribe(&self, capacity: usize) -> Subscription<St::Key, St::Sequence, St::Payload> {
        let queue = Arc::new(Queue { waiting: Mutex::new(Waiting::new(capacity)), wake: Notify::new() });
        self.board.queues.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&queue));
        Subscription { queue, board: Arc::downgrade(&self.board) }
    }
}

impl<St: EventStorage> EventStorage for Published<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let unsettled = Unsettled { board: &self.board, commit: Some(Arc::clone(&commit)) };
        let put = self.storage.put(commit).await?;
        unsettled.settle(&put);
        Ok(put)
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        self.storage.latest(key).await
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.events(key, from)
    }
}

impl<St: ScanStorage> ScanStorage for Published<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.scan(segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.storage.heads(segment)
    }
}

impl<St: EventStorage> fmt::Debug for Published<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").finish_non_exhaustive()
    }
}

/// The commits that were stored through a [`Published`] storage since its subscription. Dropped, it is forgotten.
///
/// It ends when the storage is gone, after all that waits.
///
/// - **Repeated:** nothing, except that a stream may be named whose commits are handed over as well.
/// - **Lost:** a delivery that is dropped. What does not fit is not lost but named.
/// - **Reordered:** commits of one stream, where writers race.
pub struct Subscription<K: StreamKey, S: Sequence, E> {
    queue: Arc<Queue<K, S, E>>,
    board: Weak<Board<K, S, E>>,
}

const CHANGES_PER_DELIVERY: usize = 1_000;

impl<K: StreamKey, S: Sequence, E: fmt::Debug + Send + Sync + 'static> ChangeFeed for Subscription<K, S, E> {
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn next(&mut self) -> Result<Option<Delivery<K, S, E>>, StorageError> {
        loop {
            {
                let mut waiting = self.queue.waiting();
                if !waiting.changes.is_empty() {
                    let changes = waiting.take(CHANGES_PER_DELIVERY);
                    return Ok(Some(Delivery { changes, acknowledgement: Acknowledgement::none() }));
                }
                if waiting.closed {
                    return Ok(None);
                }
            }
            self.queue.wake.notified().await;
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for Subscription<K, S, E> {
    fn drop(&mut self) {
        if let Some(board) = self.board.upgrade() {
            let mut queues = board.queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        }
    }
}

impl<K: StreamKey, S: Sequence, E> fmt::Debug for Subscription<K, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("waiting", &self.queue.waiting().changes.len()).finish()
    }
}

/// Where writers tell all subscribers.
struct Board<K: StreamKey, S: Sequence, E> {
    queues: RwLock<Vec<Arc<Queue<K, S, E>>>>,
}

impl<K: StreamKey, S: Sequence, E> Board<K, S, E> {
    fn tell(&self, what: impl Fn(&mut Waiting<K, S, E>)) {
        for queue in self.queues.read().unwrap_or_else(PoisonError::into_inner).iter() {
            what(&mut queue.waiting());
            queue.wake.notify_one();
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for Board<K, S, E> {
    fn drop(&mut self) {
        self.tell(|waiting| waiting.closed = true);
    }
}

/// A put whose outcome is not known. Dropped like that, it may be stored.
struct Unsettled<'a, K: StreamKey, S: Sequence, E> {
    board: &'a Board<K, S, E>,
    /// There until the outcome is known.
    commit: Option<Arc<Commit<K, S, E>>>,
}

impl<K: StreamKey, S: Sequence, E> Unsettled<'_, K, S, E> {
    fn settle(mut self, put: &Put<K, S, E>) {
        match put {
            Put::Stored => {
                if let Some(commit) = self.commit.take() {
                    self.board.tell(|waiting| waiting.add(&commit));
                }
            }
            // What was stored is that of the first try, which is known by its id alone.
            Put::Repeated { .. } => {}
            Put::Conflict(_) => self.commit = None,
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for Unsettled<'_, K, S, E> {
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.board.tell(|waiting| waiting.name(&commit.key));
        }
    }
}

/// What waits for one subscriber, who is woken when there is something.
struct Queue<K: StreamKey, S: Sequence, E> {
    waiting: Mutex<Waiting<K, S, E>>,
    wake: Notify,
}

impl<K: StreamKey, S: Sequence, E> Queue<K, S, E> {
    /// Never held across an await.
    fn waiting(&self) -> MutexGuard<'_, Waiting<K, S, E>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<K, S, E> {
    capacity: usize,
    /// At most `capacity` commits, `capacity` streams and one `Anything`, in the order in which they came.
    changes: VecDeque<Change<K, S, E>>,
    /// How many of the changes are commits.
    commits: usize,
    /// The streams among the changes: who reads them later sees all that was stored until then.
    streams: HashSet<K>,
    /// Whether `Anything` is among the changes, which covers whatever comes until it is taken.
    anything: bool,
    /// Nothing comes any more.
    closed: bool,
}

impl<K: StreamKey, S: Sequence, E> Waiting<K, S, E> {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            changes: VecDeque::new(),
            commits: 0,
            streams: HashSet::new(),
            anything: false,
            closed: false,
        }
    }

    /// Adds a commit, or what there is room for.
    fn add(&mut self, commit: &Arc<Commit<K, S, E>>) {
        if self.anything || self.streams.contains(&commit.key) {
            return;
        }
        if self.commits < self.capacity {
            self.commits += 1;
            self.changes.push_back(Change::Commit(Arc::clone(commit)));
        } else {
            self.name(&commit.key);
        }
    }

    /// Names a stream that may have grown.
    fn name(&mut self, key: &K) {
        if self.anything || !self.streams.insert(key.clone()) {
            return;
        }
        if self.streams.len() <= self.capacity {
            self.changes.push_back(Change::Stream(key.clone()));
            return;
        }
        self.changes.retain(|change| matches!(change, Change::Commit(_)));
        self.streams = HashSet::new();
        self.anything = true;
        self.changes.push_back(Change::Anything);
    }

    /// Takes the first changes, `limit` at most.
    fn take(&mut self, limit: usize) -> Vec<Change<K, S, E>> {
        let taken: Vec<_> = self.changes.drain(..limit.min(self.changes.len())).collect();
        for change in &taken {
            match change {
                Change::Commit(_) => self.commits -= 1,
                Change::Stream(key) => drop(self.streams.remove(key)),
                Change::Anything => self.anything = false,
            }
        }
        taken
    }
}
