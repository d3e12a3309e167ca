//! Streams of Kinesis.

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
use crate::polling::{PollError, Polled, PollingSettings, Polls, Timing, poll};
use crate::record::Record;
use crate::shard::Shard;
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// A stream of Kinesis, read by polling. Cheap to clone.
///
/// The client brings region, credentials, endpoint, timeouts and its own retries, from wherever its configuration has them.
#[derive(Clone)]
pub struct KinesisStream {
    stream: Arc<NamedStream>,
    settings: PollingSettings,
    timing: Timing,
}

impl KinesisStream {
    /// The stream called `name`, with [`PollingSettings::default`]. Nothing is asked of the service.
    pub fn new(client: Client, name: &str) -> Self {
        Self::with(client, name, PollingSettings::default())
    }

    /// The same, with these settings.
    pub fn with(client: Client, name: &str, settings: PollingSettings) -> Self {
        let stream = Arc::new(NamedStream { client, name: name.to_owned() });
        Self { stream, settings, timing: Timing::default() }
    }

    /// The same, on this clock and with these lots.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Creates the stream with so many shards if it is not there, and waits until it can be used. This is for development and
    /// tests: in production, streams belong to whoever looks after the rest of the infrastructure.
    ///
    /// # Errors
    ///
    /// `Refused` without the permission; otherwise as the service fails.
    pub async fn create(&self, shards: u32) -> Result<(), StorageError> {
        self.stream.create(shards, &*self.timing.clock).await
    }

    /// Makes sure that the stream is there, and keeps the records of one stream of events together.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such stream, it may not be looked at, or it deals out records without regard to their
    /// partition keys; `Unavailable` if the service does not answer.
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
        self.stream.family().await
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

impl Polled for NamedStream {
    type Record = Record;

    async fn iterator(&self, shard: &str, start: &StartPosition) -> Result<String, PollError> {
        let Position { kind, number, time } = Position::of(start);
        let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let call = call.shard_iterator_type(kind).set_starting_sequence_number(number).set_timestamp(time);
        match call.send().await {
            Ok(answer) => {
                answer.shard_iterator.ok_or_else(|| PollError::Failed(self.cut_off("begin to read")))
            }
            Err(error) => {
                // The shard was removed once all of it was too old, or the number is none of this stream.
                let is_gone = match error.code() {
                    Some("ResourceNotFoundException") => true,
                    Some("InvalidArgumentException") => {
                        matches!(start, StartPosition::At(_) | StartPosition::After(_))
                    }
                    _ => false,
                };
                let error = self.failure(&format!("begin to read the shard {shard} of"), error);
                Err(if is_gone { PollError::Trimmed(error) } else { PollError::Failed(error) })
            }
        }
    }

    async fn read(&self, shard: &str, iterator: &str, limit: u32) -> Result<Polls<Record>, PollError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        match call.send().await {
            // The service always says how far behind it is. Nothing of a short answer may look like the end of the shard.
            Ok(answer) if answer.next_shard_iterator.is_none() && answer.millis_behind_latest.is_none() => {
                Err(PollError::Failed(self.cut_off(&format!("read the records of the shard {shard} of"))))
            }
            Ok(answer) => {
                let records: Vec<_> = answer.records.into_iter().map(numbered).collect();
                let bytes = records.iter().map(|numbered| numbered.record.data.len() as u64).sum();
                let behind = answer.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok());
                let behind = behind.map(Duration::from_millis);
                Ok(Polls { records, next: answer.next_shard_iterator, behind, bytes })
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

/// Where to begin in a shard, as the service wants to be told.
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

/// A record of the service as one of ours.
pub(crate) fn numbered(record: aws_sdk_kinesis::types::Record) -> SequencedRecord<Record> {
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
    // Before 1970 the parts are both negative; no stream is that old.
    DateTime::from_secs_and_nanos(seconds, u32::try_from(nanoseconds).unwrap_or_default())
}
