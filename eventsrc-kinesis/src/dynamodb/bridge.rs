//! The bridge from the stream of a DynamoDB table to a Kinesis stream.

use std::fmt;

use eventsrc_core::codec::Codec;
use eventsrc_core::commit::Payload;
use eventsrc_core::lease::LeaseStore;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey};
use eventsrc_dynamo::ItemDecoder;
use tokio::task::JoinHandle;

use super::record::StreamRecords;
use super::stream::DynamoStream;
use crate::consumer::{Consumer, ConsumerEnvironment, ConsumerHandle, ConsumerSettings};
use crate::forward::forward;
use crate::publisher::Publisher;
use crate::source::ShardSource as _;

/// Copies commits from the stream of a DynamoDB table to a Kinesis stream that any number of services read.
///
/// Any number of bridges, in any number of processes, share the shards of the table's stream by leases. Delivery is at least
/// once: commits copied right before a crash may be copied again. Records that should not occur are reported as an
/// [`Anomaly`](crate::Anomaly), as by every [`Consumer`].
///
/// A service that runs a bridge uses its own payload type and codec. With [`RawCodec`](eventsrc_core::codec::RawCodec), one
/// program copies the payloads of any service without decoding them.
///
/// Dropping the bridge stops it at once; [`ConsumerHandle::drain`] stops it gracefully.
pub struct Bridge {
    handle: ConsumerHandle,
    task: JoinHandle<Result<(), StorageError>>,
}

impl Bridge {
    /// Starts a bridge from `source` to the stream of `publisher`.
    ///
    /// It decodes the items with `decoder`, shares the shards of `source` with the other workers that use `leases`, and runs on
    /// the current tokio runtime.
    ///
    /// # Errors
    ///
    /// `Refused` if a stream does not exist, if a permission is missing, or if a stream has an unsuitable configuration: the
    /// table's stream without new images; the Kinesis stream with a record distribution other than by partition key, with a
    /// record limit below the setting of `publisher`, or with a shorter retention than the table's stream. `Unavailable` if a
    /// service does not answer.
    pub async fn start<K, S, E, C>(
        source: DynamoStream,
        leases: impl LeaseStore,
        decoder: ItemDecoder<K, S, E, C>,
        publisher: Publisher<K, S, E, C>,
        settings: ConsumerSettings,
        environment: ConsumerEnvironment,
    ) -> Result<Self, StorageError>
    where
        K: StreamKey,
        S: Sequence,
        E: Payload,
        C: Codec<E>,
    {
        source.check().await?;
        publisher.check(source.retention().await?).await?;
        let retry = settings.retry.clone();
        let (clock, randomness) = (environment.clock.clone(), environment.randomness.clone());
        let decoder = StreamRecords::new(decoder);
        let feed = Consumer::start_with(source, leases, decoder, settings, environment).await?;
        let handle = feed.handle();
        let task = tokio::spawn(async move { forward(feed, &publisher, &retry, &*clock, &randomness).await });
        Ok(Self { handle, task })
    }

    /// Returns a handle that reports the status of the bridge and stops it.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Waits until the bridge has ended.
    ///
    /// # Errors
    ///
    /// Returns the permanent error that ended the bridge; see [`forward`].
    pub async fn ended(mut self) -> Result<(), StorageError> {
        let ended = (&mut self.task).await;
        ended.unwrap_or_else(|error| {
            Err(StorageError::new(ErrorKind::Invalid, "the task of the bridge failed").because(error))
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("handle", &self.handle).finish_non_exhaustive()
    }
}
