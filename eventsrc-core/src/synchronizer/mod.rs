//! Keeping a view up to date, from whatever feed, exactly once.

mod applying;
mod at_least;
mod follow;
mod inbox;
mod pending_ack;
mod reorder_buffer;
mod repair;
mod settings;
mod shared;
mod source;
mod status;
mod sweep;
mod take_over;
mod worker;

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use at_least::{AtLeastError, MissingStream, Stale, StaleReason};
pub use follow::FollowError;
pub use repair::RepairError;
pub use settings::{BackoffSettings, CircuitBreaker, Environment, SynchronizerSettings};
pub use status::{StallReason, StalledStream, SynchronizerState, SynchronizerStatus};
pub use sweep::SweepReport;
pub use take_over::TakeOverError;

use pending_ack::PendingAck;
use shared::Shared;
use source::Source;
use worker::{Request, Worker};

use crate::storage::ScanStorage;
use crate::stream::StreamName;
use crate::view::ViewStore;

/// Keeps a view up to date with an event storage. Cheap to clone; all clones are one.
///
/// Whatever a feed brings, and however often and in whatever order, each commit of each stream is applied to the view
/// once, right after the one before it:
///
/// - a commit that is next is applied, in one transaction with the position; one that was applied is dropped; one that is ahead
///   makes the synchronizer read what is missing from the storage. No timer ever decides that an event does not exist.
/// - Commits of streams that the view does not follow are passed over.
/// - Any number of synchronizers, in any number of processes, may keep the same view at once: the view compares positions,
///   and whoever comes second finds the work done.
/// - Streams are independent. They go to several workers, each of which applies what is at hand in one batch.
/// - What may go well another time is tried again with back-off, for ever. What never will puts its own stream in quarantine, and
///   the others go on.
/// - From time to time the heads of all streams are compared with positions, because a feed that lost the last event of a
///   stream leaves no gap to be seen.
///
/// A delivery is acknowledged once all its commits are applied, found applied, or in quarantine.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use eventsrc_core::{Event, MemoryStorage, MemoryView, Operation, SaveApi, StreamName};
/// use eventsrc_core::{Synchronizer, SynchronizerSettings, ViewDefinition};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = Arc::new(MemoryStorage::<StreamName, u64, u64>::default());
/// let totals = MemoryView::new(
///     ViewDefinition::new("totals", ["account"])?,
///     |totals: &mut BTreeMap<String, u64>, event: Event<'_, StreamName, u64, u64>| {
///         *totals.entry(event.key().to_string()).or_default() += event.payload;
///         Ok(())
///     },
/// );
/// let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::new(totals), SynchronizerSettings::default());
///
/// let ada: StreamName = "account/ada".parse()?;
/// let saved = SaveApi::new(storage).save(&ada, Operation::if_absent(40)).await?.saved().expect("nothing is in the way");
///
/// // At least as new as what was just saved, though no feed has told the view of it.
/// let view = Arc::clone(synchronizer.view());
/// let total = synchronizer
///     .at_least(&saved.token, Duration::from_secs(5), |streams| {
///         let view = Arc::clone(&view);
///         async move { Ok(view.read(&streams, |totals| totals.get("account/ada").copied())) }
///     })
///     .await?;
/// assert_eq!(total, Some(40));
/// # synchronizer.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Synchronizer<V: ViewStore>(Arc<Handle<V>>);

struct Handle<V: ViewStore> {
    shared: Arc<Shared<V>>,
    router: Router<V>,
    /// There until the synchronizer was stopped.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl<V: ViewStore> Synchronizer<V> {
    /// Begins to keep `view` up to date with `storage`, on the tokio runtime that this is called in.
    pub fn start<St>(storage: St, view: V, settings: SynchronizerSettings) -> Self
    where
        St: ScanStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    {
        Self::start_with(storage, view, settings, Environment::default())
    }

    /// The same, with a clock, randomness and weights of the caller's.
    pub fn start_with<St>(
        storage: St,
        view: V,
        settings: SynchronizerSettings,
        environment: Environment<V>,
    ) -> Self
    where
        St: ScanStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    {
        let source: Arc<dyn Source<V::Key, V::Sequence, V::Payload>> = Arc::new(storage);
        let shared = Arc::new(Shared::new(source, view, settings, environment));
        let (workers, queues): (Vec<_>, Vec<_>) = (0..shared.settings.workers.max(1))
            .map(|index| {
                let (requests, queue) = mpsc::channel(REQUESTS);
                (requests, Worker::new(Arc::clone(&shared), index, queue))
            })
            .unzip();
        let (sweeps, asking) = mpsc::channel(REQUESTS);
        let router = Router { workers, sweeps };
        let mut tasks: Vec<_> = queues.into_iter().map(|worker| tokio::spawn(worker.run())).collect();
        tasks.push(tokio::spawn(sweep::whenever_asked(Arc::clone(&shared), router.clone(), asking)));
        Self(Arc::new(Handle { shared, router, tasks: Mutex::new(tasks) }))
    }

    /// The view.
    pub fn view(&self) -> &V {
        &self.0.shared.view
    }

    /// Stops: what was handed over is applied where that can be done at once; whatever waits for something is left, and is
    /// not acknowledged.
    pub async fn stop(&self) {
        self.0.shared.stop();
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // A panic there was seen by those who waited.
        drop(future::join_all(tasks).await);
    }
}

/// How many requests wait for a worker before those who ask have to.
const REQUESTS: usize = 32;

/// Where requests are handed to the worker whose stream they are about.
struct Router<V: ViewStore> {
    workers: Vec<mpsc::Sender<Request<V>>>,
    /// Where a sweep is asked for, of which whatever it finds is a part of the delivery.
    sweeps: mpsc::Sender<PendingAck>,
}

impl<V: ViewStore> Router<V> {
    /// Which worker has this stream.
    fn worker_of(&self, stream: &StreamName) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream);
        (hash % self.workers.len() as u64) as usize
    }

    /// Hands over a request about `stream`; false if the workers have stopped.
    async fn ask(&self, stream: &StreamName, request: Request<V>) -> bool {
        self.workers[self.worker_of(stream)].send(request).await.is_ok()
    }
}

impl<V: ViewStore> Clone for Router<V> {
    fn clone(&self) -> Self {
        Self { workers: self.workers.clone(), sweeps: self.sweeps.clone() }
    }
}

impl<V: ViewStore> Clone for Synchronizer<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: ViewStore> Drop for Handle<V> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<V: ViewStore> fmt::Debug for Synchronizer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synchronizer").field("view", self.view().definition()).finish_non_exhaustive()
    }
}
