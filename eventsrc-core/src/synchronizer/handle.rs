//! The handle of a synchronizer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::retry_at_start;
use super::router::{QUEUED_REQUESTS, Router};
use super::settings::{Environment, SynchronizerSettings};
use super::shared::Shared;
use super::source::Source;
use super::status::SynchronizerStatus;
use super::sweeper;
use super::worker::Worker;
use crate::storage::{ScanStorage, StorageError};
use crate::view::ViewStore;

/// Keeps a view up to date with an event storage. Cheap to clone; all clones share one synchronizer.
///
/// A feed may deliver commits repeatedly and in any order. Each commit of each stream is applied to the view exactly
/// once, right after the commit before it:
///
/// - The next commit of a stream is applied in one transaction with the position. A commit that is already applied is
///   dropped. For a commit that is ahead, the synchronizer reads the missing commits from the event storage. No timer
///   decides that an event does not exist.
/// - Commits of streams that the view does not follow are ignored.
/// - Any number of synchronizers, in any number of processes, may keep the same view up to date concurrently: the view
///   compares positions, so that only one of them applies a commit.
/// - Streams are independent. They are distributed over several workers, each of which applies the commits that wait in
///   one batch.
/// - A transient failure is retried without limit, with exponential backoff and jitter. A commit that the view cannot
///   apply puts its stream in quarantine, and the other streams continue. Each start of a synchronizer tries the streams
///   that are in quarantine once more, because the view's code may have been corrected.
/// - A sweep periodically compares the heads of all streams with positions, because a feed that lost the last commits
///   of a stream leaves no gap.
///
/// A delivery is acknowledged once all its commits are applied or in quarantine.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use eventsrc_core::{Event, MemoryStorage, Operation, SaveApi, StreamName};
/// use eventsrc_core::view::MemoryView;
/// use eventsrc_core::{Synchronizer, ViewDefinition};
/// use eventsrc_core::synchronizer::SynchronizerSettings;
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
/// let saved = SaveApi::new(storage).save(&ada, Operation::if_absent(40)).await?.saved().expect("a new account");
///
/// // Read-your-writes: the view contains the save, although no feed has delivered it.
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
pub struct Synchronizer<V: ViewStore>(pub(super) Arc<Handle<V>>);

pub(super) struct Handle<V: ViewStore> {
    pub(super) shared: Arc<Shared<V>>,
    pub(super) router: Router<V>,
    /// Value that becomes true if the retry of quarantined streams at the start meets a failing database. The sender is
    /// gone once the retry has finished.
    pub(super) retry_at_start: watch::Receiver<bool>,
    /// Tasks of the workers, of the sweeper and of the retry at the start; empty once the synchronizer is stopped.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl<V: ViewStore> Synchronizer<V> {
    /// Starts to keep `view` up to date with `storage`, on the current tokio runtime.
    pub fn start<St>(storage: St, view: V, settings: SynchronizerSettings) -> Self
    where
        St: ScanStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    {
        Self::start_with(storage, view, settings, Environment::default())
    }

    /// Starts a synchronizer with the caller's clock, randomness and weight function.
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
                let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
                (requests, Worker::new(Arc::clone(&shared), index, queue))
            })
            .unzip();
        let (sweeps, requested_sweeps) = mpsc::channel(QUEUED_REQUESTS);
        let router = Router { workers, sweeps };
        let mut tasks: Vec<_> = queues.into_iter().map(|worker| tokio::spawn(worker.run())).collect();
        tasks.push(tokio::spawn(sweeper::run(Arc::clone(&shared), router.clone(), requested_sweeps)));
        let (failing, retry_at_start) = watch::channel(false);
        tasks.push(tokio::spawn(retry_at_start::run(Arc::clone(&shared), router.clone(), failing)));
        Self(Arc::new(Handle { shared, router, retry_at_start, tasks: Mutex::new(tasks) }))
    }

    /// Returns the view store.
    pub fn view(&self) -> &V {
        &self.0.shared.view
    }

    /// Returns counters, lag, stalled streams, quarantines and last errors.
    ///
    /// # Errors
    ///
    /// Errors of the view's database, from which the quarantines are read.
    pub async fn status(&self) -> Result<SynchronizerStatus<V::Sequence>, StorageError> {
        self.0.shared.status().await
    }

    /// Stops the synchronizer, and waits for its tasks. Received commits that are ready are applied first. Commits of
    /// streams that wait for a retry are dropped, and their deliveries stay unacknowledged.
    pub async fn stop(&self) {
        self.0.shared.stop();
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // A panic of a task has closed the channels of its waiters.
        drop(future::join_all(tasks).await);
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
