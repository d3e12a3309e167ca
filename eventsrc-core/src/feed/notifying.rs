//! The feed of what is stored in this process.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, ready};
use std::{fmt, thread};

use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::contract::{Acknowledgement, ChangeFeed, Delivery};
use super::pending::PendingChanges;
use crate::commit::{Commit, Head, Payload};
use crate::storage::{
    CommitOf, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment, StorageError,
};
use crate::stream::{Sequence, StreamKey};

/// A storage that passes every call on, and tells its subscribers what was stored through it.
///
/// Writers never wait for subscribers. Every commit that is stored after somebody subscribed is handed over to them, or covered by a
/// [`Change::Stream`](super::Change::Stream) or [`Change::Anything`](super::Change::Anything) that comes after it was stored. The stream is named where the commit at hand may not
/// be what is stored: after a put that ended in an error, and after one that was [`Put::Repeated`], which goes by the commit
/// id alone. A put whose caller stops waiting is carried to its end on the tokio runtime, where there is one.
///
/// What is stored in another process or through another handle is not seen, and neither is what a storage stores after it
/// answered with an error.
///
/// Cheap to clone; all clones have the same subscribers.
pub struct NotifyingStorage<St: EventStorage> {
    storage: Arc<St>,
    board: Arc<Board<St::Key, St::Sequence, St::Payload>>,
}

impl<St: EventStorage> NotifyingStorage<St> {
    /// `storage`, without subscribers yet.
    pub fn new(storage: St) -> Self {
        Self { storage: Arc::new(storage), board: Arc::new(Board { queues: RwLock::default() }) }
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
        let queue =
            Arc::new(Queue { waiting: Mutex::new(PendingChanges::new(capacity)), wake: Notify::new() });
        self.board.queues.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&queue));
        Subscription { queue, board: Arc::downgrade(&self.board) }
    }
}

impl<St: EventStorage> EventStorage for NotifyingStorage<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let (storage, board) = (Arc::clone(&self.storage), Arc::clone(&self.board));
        let put = async move {
            let unsettled = Unsettled { board: &board, commit: Some(Arc::clone(&commit)) };
            let put = storage.put(commit).await?;
            unsettled.settle(&put);
            Ok(put)
        };
        Carried(Some(Box::pin(put))).await
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

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.events_after(key, end)
    }
}

impl<St: ScanStorage> ScanStorage for NotifyingStorage<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.scan(segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.storage.heads(segment)
    }
}

impl<St: EventStorage> Clone for NotifyingStorage<St> {
    fn clone(&self) -> Self {
        Self { storage: Arc::clone(&self.storage), board: Arc::clone(&self.board) }
    }
}

impl<St: EventStorage> fmt::Debug for NotifyingStorage<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyingStorage").finish_non_exhaustive()
    }
}

/// The commits that were stored through a [`NotifyingStorage`] storage since its subscription. Dropped, it is forgotten.
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

impl<K: StreamKey, S: Sequence, E> Subscription<K, S, E> {
    /// How many changes wait: at most twice the capacity and one.
    pub fn waiting(&self) -> usize {
        self.queue.waiting().len()
    }
}

impl<K: StreamKey, S: Sequence, E: Payload> ChangeFeed for Subscription<K, S, E> {
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn next(&mut self) -> Result<Option<Delivery<K, S, E>>, StorageError> {
        loop {
            {
                let mut waiting = self.queue.waiting();
                let changes = waiting.take(CHANGES_PER_DELIVERY);
                if !changes.is_empty() {
                    return Ok(Some(Delivery { changes, acknowledgement: Acknowledgement::none() }));
                }
                if waiting.is_closed() {
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
        f.debug_struct("Subscription").field("waiting", &self.waiting()).finish()
    }
}

/// Where writers tell all subscribers.
struct Board<K: StreamKey, S: Sequence, E> {
    queues: RwLock<Vec<Arc<Queue<K, S, E>>>>,
}

impl<K: StreamKey, S: Sequence, E> Board<K, S, E> {
    fn tell(&self, what: impl Fn(&mut PendingChanges<K, S, E>)) {
        for queue in self.queues.read().unwrap_or_else(PoisonError::into_inner).iter() {
            what(&mut queue.waiting());
            queue.wake.notify_one();
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for Board<K, S, E> {
    fn drop(&mut self) {
        self.tell(PendingChanges::close);
    }
}

/// A put under way, which goes on without its caller: it may be stored any time, and only then is there something to tell.
struct Carried<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for Carried<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let put = self.0.as_mut().expect("a put is not asked again after its answer");
        let answer = ready!(put.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(answer)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Carried<F> {
    fn drop(&mut self) {
        // A put that panicked cannot go on.
        if let Some(put) = self.0.take()
            && !thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(put);
        }
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
    waiting: Mutex<PendingChanges<K, S, E>>,
    wake: Notify,
}

impl<K: StreamKey, S: Sequence, E> Queue<K, S, E> {
    /// Never held across an await.
    fn waiting(&self) -> MutexGuard<'_, PendingChanges<K, S, E>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
