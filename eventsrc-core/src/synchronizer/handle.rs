//! The synchronizer as its owner sees it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::router::{REQUESTS, Router};
use super::settings::{Environment, SynchronizerSettings};
use super::shared::Shared;
use super::source::Source;
use super::status::SynchronizerStatus;
use super::sweeper;
use super::worker::Worker;
use crate::storage::{ScanStorage, StorageError};
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
pub struct Synchronizer<V: ViewStore>(pub(super) Arc<Handle<V>>);

pub(super) struct Handle<V: ViewStore> {
    pub(super) shared: Arc<Shared<V>>,
    pub(super) router: Router<V>,
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
        tasks.push(tokio::spawn(sweeper::whenever_asked(Arc::clone(&shared), router.clone(), asking)));
        Self(Arc::new(Handle { shared, router, tasks: Mutex::new(tasks) }))
    }

    /// The view.
    pub fn view(&self) -> &V {
        &self.0.shared.view
    }

    /// How far the view is, and what is in its way.
    ///
    /// # Errors
    ///
    /// Those of the view's database, which knows what is in quarantine.
    pub async fn status(&self) -> Result<SynchronizerStatus<V::Sequence>, StorageError> {
        self.0.shared.status().await
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
