//! Where shards and their records come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::{StorageError, Timestamp};
use futures::stream::BoxStream;

pub use crate::shard::{Shard, compare_sequence_numbers};

/// A stream of changes in shards, such as one of Kinesis or of DynamoDB.
///
/// - Records of one shard come in the order of their sequence numbers.
/// - A shard that was split or merged ends; those that were made of it have it among their parents.
/// - What went wrong and may go well is tried again by the source itself, for as long as its settings say.
pub trait ShardSource: Send + Sync + 'static {
    /// A record of the service.
    type Record: Send + Sync + 'static;

    /// For how long the stream keeps its records.
    fn retention(&self) -> impl Future<Output = Result<Duration, StorageError>> + Send;

    /// The shards that the stream still has, closed ones too.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, StorageError>> + Send;

    /// The records of a shard, as they come. It ends when the shard does, and after an error.
    fn records(
        &self,
        shard: &str,
        start: StartPosition,
    ) -> BoxStream<'static, Result<RecordBatch<Self::Record>, ReadError>>;
}

/// Where to begin in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest record that the shard still has.
    TrimHorizon,
    /// After the latest record.
    Latest,
    /// At the first record of this time or later; where the service does not know times, at the oldest.
    Time(Timestamp),
    /// At this sequence number.
    At(Arc<str>),
    /// After this sequence number.
    After(Arc<str>),
}

/// Some records of a shard; none, to tell that there was nothing to read.
#[derive(Debug)]
pub struct RecordBatch<R> {
    /// The records, in order.
    pub records: Vec<SequencedRecord<R>>,
    /// How far these records were behind the latest of the shard when they were read, where the service says so.
    pub behind: Option<Duration>,
}

/// A record and its place.
#[derive(Debug)]
pub struct SequencedRecord<R> {
    /// The sequence number.
    pub sequence_number: String,
    /// When it came to the stream, roughly.
    pub arrived: Option<Timestamp>,
    /// The record.
    pub record: R,
}

/// Why a shard cannot be read on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream does not have any more what was asked for.
    Trimmed(StorageError),
    /// It was tried for long enough, or cannot be.
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
