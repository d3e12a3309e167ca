//! A feed of the commits that are stored through a handle of this process.

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

/// Forwards every call to a storage, and notifies its subscribers of the commits that are stored through it.
///
/// Writers never wait for subscribers. Every commit that is stored after a subscription began is delivered to it, or is
/// covered by a hint that follows the put: a [`Change::Stream`](super::Change::Stream) or a
/// [`Change::Anything`](super::Change::Anything). A hint also replaces a commit if the stored one may differ from it: after
/// a put that failed with an error, and after [`Put::Repeated`], which compares commit ids only. If the caller of a put
/// stops waiting, the put continues on the tokio runtime, if there is one.
///
/// Subscribers do not receive commits that are stored by other processes or through other handles. Neither do they
/// receive a commit that a storage stores after it returned an error.
///
/// Cheap to clone; all clones share the subscribers.
pub struct NotifyingStorage<St: EventStorage> {
    storage: Arc<St>,
    subscribers: Arc<Subscribers<St::Key, St::Sequence, St::Payload>>,
}

impl<St: EventStorage> NotifyingStorage<St> {
    /// Wraps `storage`, without subscribers.
    pub fn new(storage: St) -> Self {
        let subscribers = Subscribers { queues: RwLock::default() };
        Self { storage: Arc::new(storage), subscribers: Arc::new(subscribers) }
    }

    /// Returns the wrapped storage.
    pub fn storage(&self) -> &St {
        &self.storage
    }

    /// Returns a feed of the commits that are stored from now on.
    ///
    /// Up to `capacity` commits wait for a slow subscriber. Further commits are replaced by a hint that names their
    /// stream, once for each stream. More than `capacity` named streams are replaced by one
    /// [`Change::Anything`](super::Change::Anything).
    pub fn subscribe(&self, capacity: usize) -> Subscription<St::Key, St::Sequence, St::Payload> {
        let queue =
            Arc::new(Queue { waiting: Mutex::new(PendingChanges::new(capacity)), wake: Notify::new() });
        self.subscribers.queues.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&queue));
        Subscription { queue, subscribers: Arc::downgrade(&self.subscribers) }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: EventStorage> EventStorage for NotifyingStorage<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let (storage, subscribers) = (Arc::clone(&self.storage), Arc::clone(&self.subscribers));
        let put = async move {
            let unsettled = UnsettledPut { subscribers: &subscribers, commit: Some(Arc::clone(&commit)) };
            let put = storage.put(commit).await?;
            unsettled.settle(&put);
            Ok(put)
        };
        DetachOnDrop(Some(Box::pin(put))).await
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        self.storage.recent(key, count).await
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

#[deny(clippy::missing_trait_methods)]
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
        Self { storage: Arc::clone(&self.storage), subscribers: Arc::clone(&self.subscribers) }
    }
}

impl<St: EventStorage> fmt::Debug for NotifyingStorage<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyingStorage").finish_non_exhaustive()
    }
}

/// Feed of the commits that are stored through a [`NotifyingStorage`]. Dropping it ends the subscription.
///
/// The feed ends when all clones of the storage are dropped, after it has delivered the changes that wait.
///
/// - **Repeated:** nothing, except that a hint may name a stream whose commits are delivered as well.
/// - **Lost:** a delivery that is dropped. A commit beyond the capacity is not lost: a hint covers it.
/// - **Reordered:** commits of one stream whose writers race.
pub struct Subscription<K: StreamKey, S: Sequence, E> {
    queue: Arc<Queue<K, S, E>>,
    subscribers: Weak<Subscribers<K, S, E>>,
}

const CHANGES_PER_DELIVERY: usize = 1_000;

impl<K: StreamKey, S: Sequence, E> Subscription<K, S, E> {
    /// Returns the number of waiting changes: at most twice the capacity plus one.
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
        if let Some(subscribers) = self.subscribers.upgrade() {
            let mut queues = subscribers.queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        }
    }
}

impl<K: StreamKey, S: Sequence, E> fmt::Debug for Subscription<K, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("waiting", &self.waiting()).finish()
    }
}

/// Queues of all subscribers.
struct Subscribers<K: StreamKey, S: Sequence, E> {
    queues: RwLock<Vec<Arc<Queue<K, S, E>>>>,
}

impl<K: StreamKey, S: Sequence, E> Subscribers<K, S, E> {
    /// Changes every queue, and wakes its subscriber.
    fn notify(&self, change: impl Fn(&mut PendingChanges<K, S, E>)) {
        for queue in self.queues.read().unwrap_or_else(PoisonError::into_inner).iter() {
            change(&mut queue.waiting());
            queue.wake.notify_one();
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for Subscribers<K, S, E> {
    fn drop(&mut self) {
        self.notify(PendingChanges::close);
    }
}

/// A put in progress. If its caller drops it, it continues on the runtime: the commit may still be stored, and
/// subscribers are notified only after that.
struct DetachOnDrop<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let put = self.0.as_mut().expect("a completed put is not polled again");
        let result = ready!(put.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(result)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        // A put that panicked cannot continue.
        if let Some(put) = self.0.take()
            && !thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(put);
        }
    }
}

/// A put whose outcome is unknown. If it is dropped unsettled, its commit may be stored, and a hint names the stream.
struct UnsettledPut<'a, K: StreamKey, S: Sequence, E> {
    subscribers: &'a Subscribers<K, S, E>,
    /// Set until the outcome is known.
    commit: Option<Arc<Commit<K, S, E>>>,
}

impl<K: StreamKey, S: Sequence, E> UnsettledPut<'_, K, S, E> {
    fn settle(mut self, put: &Put<K, S, E>) {
        match put {
            Put::Stored => {
                if let Some(commit) = self.commit.take() {
                    self.subscribers.notify(|waiting| waiting.add(&commit));
                }
            }
            // The stored commit is that of the first attempt, of which only the id was compared.
            Put::Repeated { .. } => {}
            Put::Conflict(_) => self.commit = None,
        }
    }
}

impl<K: StreamKey, S: Sequence, E> Drop for UnsettledPut<'_, K, S, E> {
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.subscribers.notify(|waiting| waiting.add_hint(&commit.key));
        }
    }
}

/// Changes that wait for one subscriber, and the signal that wakes it.
struct Queue<K: StreamKey, S: Sequence, E> {
    waiting: Mutex<PendingChanges<K, S, E>>,
    wake: Notify,
}

impl<K: StreamKey, S: Sequence, E> Queue<K, S, E> {
    /// Locks the changes. The guard is never held across an await.
    fn waiting(&self) -> MutexGuard<'_, PendingChanges<K, S, E>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
