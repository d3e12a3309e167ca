//! Sources of shards and their records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::{StorageError, Timestamp};
use futures::stream::BoxStream;

pub use crate::shard::{Shard, compare_sequence_numbers};

/// A sharded stream of records, such as a Kinesis stream or the stream of a DynamoDB table.
///
/// - Records of one shard are delivered in the order of their sequence numbers.
/// - A shard that was split or merged ends. The shards that replace it name it among their parents.
/// - The source itself retries transient errors, for as long as its settings allow.
pub trait ShardSource: Send + Sync + 'static {
    /// Record type of the service.
    type Record: Send + Sync + 'static;

    /// Returns the duration for which the stream keeps its records.
    fn retention(&self) -> impl Future<Output = Result<Duration, StorageError>> + Send;

    /// Returns the shards that the stream still has, including closed ones.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, StorageError>> + Send;

    /// Reads the records of a shard as they arrive. The returned stream ends at the end of the shard, or after an error.
    fn records(
        &self,
        shard: &str,
        start: StartPosition,
    ) -> BoxStream<'static, Result<RecordBatch<Self::Record>, ReadError>>;
}

/// Point in a shard at which reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartPosition {
    /// The oldest record that the shard still has.
    TrimHorizon,
    /// After the latest record.
    Latest,
    /// The first record at or after this time; the oldest record if the service cannot seek by time.
    Time(Timestamp),
    /// The record with this sequence number.
    At(Arc<str>),
    /// After the record with this sequence number.
    After(Arc<str>),
}

/// Consecutive records of a shard. An empty batch reports that the shard had no new records.
#[derive(Debug)]
pub struct RecordBatch<R> {
    /// Records, in order.
    pub records: Vec<SequencedRecord<R>>,
    /// Time between these records and the latest record of the shard; `None` if the service does not report it.
    pub behind_latest: Option<Duration>,
}

/// A record with its position in the shard.
#[derive(Debug)]
pub struct SequencedRecord<R> {
    /// Sequence number of the record.
    pub sequence_number: String,
    /// Approximate time at which the record arrived on the stream.
    pub arrived: Option<Timestamp>,
    /// The record.
    pub record: R,
}

/// Error that ends reading a shard.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream no longer has the requested records.
    Trimmed(StorageError),
    /// The error is permanent, or the retries of the source are exhausted.
    Failed(StorageError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed(error) | Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Trimmed(error) | Self::Failed(error) => std::error::Error::source(error),
        }
    }
}
