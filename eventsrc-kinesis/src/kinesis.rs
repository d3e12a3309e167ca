//! Kinesis streams, read by polling.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::{StorageError, Timestamp};
use futures::stream::BoxStream;

use crate::named_stream::NamedStream;
use crate::polling::{PollError, PolledRecords, PolledStream, PollingSettings, Timing, poll};
use crate::record::Record;
use crate::shard::Shard;
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// A Kinesis stream, read by polling. Cheap to clone.
///
/// Region, credentials, endpoint, timeouts and the retries of the SDK come from the configuration of the client.
#[derive(Clone)]
pub struct KinesisStream {
    stream: Arc<NamedStream>,
    settings: PollingSettings,
    timing: Timing,
}

impl KinesisStream {
    /// Creates a reader of the stream `name` with [`PollingSettings::default`]. No request is sent.
    pub fn new(client: Client, name: &str) -> Self {
        Self::with(client, name, PollingSettings::default())
    }

    /// Creates a reader of the stream `name` with `settings`. No request is sent.
    pub fn with(client: Client, name: &str, settings: PollingSettings) -> Self {
        let stream = Arc::new(NamedStream { client, name: name.to_owned() });
        Self { stream, settings, timing: Timing::default() }
    }

    /// Replaces the clock and the randomness.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Creates the stream with `shards` shards if it does not exist, and waits until it is active.
    ///
    /// This method is for development and tests. In production, create streams with the rest of the infrastructure.
    ///
    /// # Errors
    ///
    /// `Refused` if the permission is missing; otherwise the error of the service.
    pub async fn create(&self, shards: u32) -> Result<(), StorageError> {
        self.stream.create(shards, &*self.timing.clock).await
    }

    /// Checks that the stream exists and keeps the records of one event stream in one shard.
    ///
    /// # Errors
    ///
    /// `Refused` if the stream does not exist, if the permission to describe it is missing, or if it distributes records
    /// without regard to their partition keys; `Unavailable` if the service does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.stream.check_distribution(&self.stream.summary().await?)
    }
}

impl ShardSource for KinesisStream {
    type Record = Record;

    async fn retention(&self) -> Result<Duration, StorageError> {
        self.stream.retention().await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.stream.shards().await
    }

    fn records(
        &self,
        shard: &str,
        start: StartPosition,
    ) -> BoxStream<'static, Result<RecordBatch<Record>, ReadError>> {
        let stream = Arc::clone(&self.stream);
        poll(stream, shard.to_owned(), start, self.settings.clone(), self.timing.clone())
    }
}

impl PolledStream for NamedStream {
    type Record = Record;

    async fn iterator(&self, shard: &str, start: &StartPosition) -> Result<String, PollError> {
        let Position { kind, number, time } = Position::of(start);
        let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let call = call.shard_iterator_type(kind).set_starting_sequence_number(number).set_timestamp(time);
        match call.send().await {
            Ok(answer) => {
                answer.shard_iterator.ok_or_else(|| PollError::Failed(self.truncated("get an iterator of")))
            }
            Err(error) => {
                // The shard was deleted after all of its records expired, or the stream never had the sequence number.
                let is_gone = match error.code() {
                    Some("ResourceNotFoundException") => true,
                    Some("InvalidArgumentException") => {
                        matches!(start, StartPosition::At(_) | StartPosition::After(_))
                    }
                    _ => false,
                };
                let error = self.failure(&format!("get an iterator of the shard {shard} of"), error);
                Err(if is_gone { PollError::Trimmed(error) } else { PollError::Failed(error) })
            }
        }
    }

    async fn read(
        &self,
        shard: &str,
        iterator: &str,
        limit: u32,
    ) -> Result<PolledRecords<Record>, PollError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        match call.send().await {
            // The service always reports its lag. A truncated answer must not look like the end of the shard.
            Ok(answer) if answer.next_shard_iterator.is_none() && answer.millis_behind_latest.is_none() => {
                Err(PollError::Failed(self.truncated(&format!("read the records of the shard {shard} of"))))
            }
            Ok(answer) => {
                let records: Vec<_> = answer.records.into_iter().map(sequenced).collect();
                let bytes = records.iter().map(|sequenced| sequenced.record.data.len() as u64).sum();
                let millis = answer.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok());
                let behind_latest = millis.map(Duration::from_millis);
                Ok(PolledRecords { records, next: answer.next_shard_iterator, behind_latest, bytes })
            }
            Err(error) => match error.code() {
                Some("ExpiredIteratorException" | "InvalidArgumentException") => Err(PollError::Expired),
                _ => Err(PollError::Failed(
                    self.failure(&format!("read the records of the shard {shard} of"), error),
                )),
            },
        }
    }
}

/// A [`StartPosition`] as the parameters of the Kinesis API.
pub(crate) struct Position {
    pub(crate) kind: ShardIteratorType,
    pub(crate) number: Option<String>,
    pub(crate) time: Option<DateTime>,
}

impl Position {
    pub(crate) fn of(start: &StartPosition) -> Self {
        let (kind, number, time) = match start {
            StartPosition::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
            StartPosition::Latest => (ShardIteratorType::Latest, None, None),
            StartPosition::Time(time) => (ShardIteratorType::AtTimestamp, None, Some(date_time(*time))),
            StartPosition::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number), None),
            StartPosition::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number), None),
        };
        Self { kind, number: number.map(|number| number.as_ref().to_owned()), time }
    }
}

/// Converts a record of the SDK.
pub(crate) fn sequenced(record: aws_sdk_kinesis::types::Record) -> SequencedRecord<Record> {
    SequencedRecord {
        sequence_number: record.sequence_number,
        arrived: record.approximate_arrival_timestamp.as_ref().and_then(timestamp),
        record: Record {
            partition_key: record.partition_key.unwrap_or_default(),
            data: record.data.into_inner(),
        },
    }
}

pub(crate) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn date_time(time: Timestamp) -> DateTime {
    let (seconds, nanoseconds) = (time.as_second(), time.subsec_nanosecond());
    // Before 1970 both parts are negative; no stream has such records.
    DateTime::from_secs_and_nanos(seconds, u32::try_from(nanoseconds).unwrap_or_default())
}
