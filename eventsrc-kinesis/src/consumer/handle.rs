//! The public types of the consumer.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::feed::{ChangeFeed, Delivery};
use eventsrc_core::lease::LeaseStore;
use eventsrc_core::{Sequence, StorageError, StreamKey};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::reader::ReaderContext;
use super::settings::{ConsumerEnvironment, ConsumerSettings};
use super::status::{ConsumerStatus, StatusBoard};
use super::worker::Worker;
use crate::record::Decoder;
use crate::source::ShardSource;

/// A change feed that reads the shards of a stream. The workers of a group share the shards.
///
/// The workers of a group run in any number of processes and share the shards by leases. Each shard is read by one worker,
/// after its parent shards have ended:
///
/// - **Balance.** A new worker takes the leases that have no owner. It claims leases from workers that hold more than their
///   share, one lease at a time.
/// - **Takeover.** If the heartbeat of a worker stalls for longer than [`ConsumerSettings::expiry`], measured on the
///   observer's monotonic clock, other workers take its shards over. If the worker resumes, both read the same shard for a
///   moment; a view still applies each commit once.
/// - **Checkpoint.** Reading a shard begins at its checkpoint. The checkpoint advances past a record only after the delivery
///   of that record and all earlier deliveries are acknowledged.
/// - **Split and merge.** A shard that was split or merged is read to its end, then the shards that replace it.
/// - **Trimmed records.** If the checkpoint is older than the retention of the stream, records may be lost, and the stream
///   does not report it. The consumer delivers [`Change::Anything`](eventsrc_core::feed::Change::Anything), so that the
///   synchronizer compares heads with positions. The checkpoint waits for that delivery.
///
/// A stream that is deleted and created again has shards with the same names. Use a new set of leases for it.
///
/// Dropping the consumer stops reading at once; its leases expire. [`ConsumerHandle::drain`] stops it gracefully.
pub struct Consumer<K, S, E> {
    deliveries: mpsc::Receiver<Delivery<K, S, E>>,
    handle: ConsumerHandle,
    worker: JoinHandle<()>,
}

impl<K, S, E> Consumer<K, S, E>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
{
    /// Starts a worker that reads `source` and shares its shards with the other workers that use `leases`. It runs on the
    /// current tokio runtime.
    ///
    /// # Errors
    ///
    /// `Refused` if the stream does not exist or the permission to read it is missing; `Unavailable` if the service does not
    /// answer.
    pub async fn start<So, L, D>(
        source: So,
        leases: L,
        decoder: D,
        settings: ConsumerSettings,
    ) -> Result<Self, StorageError>
    where
        So: ShardSource,
        L: LeaseStore,
        D: Decoder<So::Record, Key = K, Sequence = S, Payload = E>,
    {
        Self::start_with(source, leases, decoder, settings, ConsumerEnvironment::default()).await
    }

    /// Starts a worker like [`start`](Self::start), with the given clock, randomness and anomaly callback.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub async fn start_with<So, L, D>(
        source: So,
        leases: L,
        decoder: D,
        settings: ConsumerSettings,
        environment: ConsumerEnvironment,
    ) -> Result<Self, StorageError>
    where
        So: ShardSource,
        L: LeaseStore,
        D: Decoder<So::Record, Key = K, Sequence = S, Payload = E>,
    {
        let retention = source.retention().await?;
        let board = Arc::new(StatusBoard::default());
        let (sender, deliveries) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let name = environment.randomness.commit_id(environment.clock.now()).to_string();
        let context = ReaderContext {
            source,
            decoder,
            settings,
            environment,
            deliveries: sender,
            board: Arc::clone(&board),
            retention,
        };
        let worker = tokio::spawn(Worker::new(Arc::new(context), leases, name.clone()).run(stopped));
        let handle = ConsumerHandle { name: name.into(), board, stop: Arc::new(stop) };
        Ok(Self { deliveries, handle, worker })
    }

    /// Returns a handle that reports the status of the consumer and stops it.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }
}

impl<K, S, E> ChangeFeed for Consumer<K, S, E>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn next(&mut self) -> Result<Option<Delivery<K, S, E>>, StorageError> {
        Ok(self.deliveries.recv().await)
    }
}

impl<K, S, E> Drop for Consumer<K, S, E> {
    fn drop(&mut self) {
        // The readers of its shards end with the worker.
        self.worker.abort();
    }
}

impl<K, S, E> fmt::Debug for Consumer<K, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("worker", &self.handle.name).finish_non_exhaustive()
    }
}

/// Reports the status of a [`Consumer`] and stops it, while another task polls the feed. Cheap to clone.
#[derive(Clone)]
pub struct ConsumerHandle {
    name: Arc<str>,
    board: Arc<StatusBoard>,
    stop: Arc<watch::Sender<bool>>,
}

impl ConsumerHandle {
    /// Unique name of the worker.
    pub fn worker(&self) -> &str {
        &self.name
    }

    /// Returns the current status.
    pub fn status(&self) -> ConsumerStatus {
        self.board.status()
    }

    /// Stops the consumer gracefully: it stops reading, waits for acknowledgements for at most
    /// [`ConsumerSettings::handover`], and releases its leases. Then the feed ends.
    pub fn drain(&self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle").field("worker", &self.name).finish_non_exhaustive()
    }
}
