//! The consumer as its owner sees it.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::feed::{ChangeFeed, Delivery};
use eventsrc_core::lease::LeaseStore;
use eventsrc_core::{Sequence, StorageError, StreamKey};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::reader::Reading;
use super::settings::{ConsumerEnvironment, ConsumerSettings};
use super::status::{Board, ConsumerStatus};
use super::worker::Worker;
use crate::record::Decoder;
use crate::source::ShardSource;

/// A change feed of all that a stream has, of which each worker of a group brings a share.
///
/// The workers of a group, in any number of processes, share the shards by leases. Each shard is read by one of them, after the
/// shards that it was made of:
///
/// - A worker that comes takes what nobody reads, and asks others for what is more than their share, a shard at a time.
/// - Of one that gave no sign for a while, by the clock of whoever looks, others take the shards over. Should it live after
///   all, both read for a moment what only one needs to; a view applies it once.
/// - A shard is begun where its checkpoint is. That moves past a record only once the delivery that brought it, and all before
///   it, are acknowledged.
/// - A shard that was split or merged is read to its end, and then those that were made of it.
/// - After a checkpoint older than what the stream keeps, something may be lost on the way; whether it is, the stream does not tell.
///   The reader is told that anything may have grown, and compares heads with positions; the checkpoint waits for that.
///
/// A stream that is removed and made anew has shards of the same names, so it needs leases of another name.
///
/// Dropping it ends reading at once, and leaves the leases to expire. [`ConsumerHandle::drain`] ends it in good order.
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
    /// Begins to read `source` as a worker of the group of `leases`, on the tokio runtime that this is called in.
    ///
    /// # Errors
    ///
    /// `Refused` if the stream is not there or may not be read; `Unavailable` if the service does not answer.
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

    /// The same, with a clock, randomness and an ear for anomalies of the caller's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
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
        let board = Arc::new(Board::default());
        let (sender, deliveries) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let name = environment.randomness.commit_id(environment.clock.now()).to_string();
        let reading = Reading {
            source,
            decoder,
            settings,
            environment,
            deliveries: sender,
            board: Arc::clone(&board),
            retention,
        };
        let worker = tokio::spawn(Worker::new(Arc::new(reading), leases, name.clone()).run(stopped));
        let handle = ConsumerHandle { name: name.into(), board, stop: Arc::new(stop) };
        Ok(Self { deliveries, handle, worker })
    }

    /// Shows what it does, and ends it, from elsewhere.
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
        // Its readers end with it.
        self.worker.abort();
    }
}

impl<K, S, E> fmt::Debug for Consumer<K, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("worker", &self.handle.name).finish_non_exhaustive()
    }
}

/// What to do with a [`Consumer`] that is being followed. Cheap to clone.
#[derive(Clone)]
pub struct ConsumerHandle {
    name: Arc<str>,
    board: Arc<Board>,
    stop: Arc<watch::Sender<bool>>,
}

impl ConsumerHandle {
    /// The name of the worker, which no other has.
    pub fn worker(&self) -> &str {
        &self.name
    }

    /// What the consumer does.
    pub fn status(&self) -> ConsumerStatus {
        self.board.status()
    }

    /// Ends the consumer in good order: nothing more is read, what was handed over is waited for, for as long as a
    /// [handover](ConsumerSettings::handover) may take, and its leases are given up. Then the feed ends.
    pub fn drain(&self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle").field("worker", &self.name).finish_non_exhaustive()
    }
}
