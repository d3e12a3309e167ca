//! From a table of DynamoDB onto a stream of Kinesis.

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

/// Carries what is stored in a table of DynamoDB onto a stream of Kinesis, from which any number of services read.
///
/// Any number of them, in any number of processes, share the work by their leases. What was carried right before a crash may be
/// carried again, and nothing is left out. What should not be in the table is a [`Anomaly`](crate::Anomaly), as for every
/// [`Consumer`].
///
/// A service carries its own events as what they are. With [`RawCodec`](eventsrc_core::codec::RawCodec) payloads, one program carries
/// those of any service.
///
/// Dropping it ends it at once; [`ConsumerHandle::drain`] ends it in good order.
pub struct Bridge {
    handle: ConsumerHandle,
    carrying: JoinHandle<Result<(), StorageError>>,
}

impl Bridge {
    /// Begins to carry what `source` says, read by `images`, onto the stream of `publisher`, as a worker of the group of `leases`,
    /// on the tokio runtime that this is called in.
    ///
    /// # Errors
    ///
    /// `Refused` if a stream is not there, may not be used, or is set up so that a bridge cannot be relied on: the table's without
    /// new images, or that of Kinesis with a record distribution that goes by no key, with smaller records than `publisher`
    /// may put, or with a shorter memory than the table's stream has. `Unavailable` if a service does not answer.
    pub async fn start<K, S, E, C>(
        source: DynamoStream,
        leases: impl LeaseStore,
        images: ItemDecoder<K, S, E, C>,
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
        let (clock, randomness) = (environment.clock.clone(), environment.randomness.clone());
        let decoder = StreamRecords::new(images);
        let feed = Consumer::start_with(source, leases, decoder, settings, environment).await?;
        let handle = feed.handle();
        let carrying = tokio::spawn(async move { forward(feed, &publisher, &*clock, &randomness).await });
        Ok(Self { handle, carrying })
    }

    /// Shows what it does, and ends it, from elsewhere.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// What it could not go on from, which trying again does not mend.
    pub async fn ended(mut self) -> Result<(), StorageError> {
        let ended = (&mut self.carrying).await;
        ended.unwrap_or_else(|error| {
            Err(StorageError::new(ErrorKind::Invalid, "the bridge broke off").because(error))
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("handle", &self.handle).finish_non_exhaustive()
    }
}
