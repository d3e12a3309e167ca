//! Streams of Kinesis.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, ShardIteratorType, StreamDescriptionSummary};
use eventsrc_core::{Clock, ErrorKind, Randomness, StorageError, Timestamp};
use eventsrc_dynamo::service_error;
use futures::stream::BoxStream;

use crate::polling::{PollError, Polled, PollingSettings, Polls, Timing, poll};
use crate::record::Record;
use crate::shard::Shard;
use crate::source::{Batch, Numbered, ReadError, ShardSource, Start};

/// A stream of Kinesis, read by polling. Cheap to clone.
///
/// The client brings region, credentials, endpoint, timeouts and its own retries, from wherever its configuration has them.
#[derive(Clone)]
pub struct KinesisStream {
    stream: Arc<Calls>,
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
        let stream = Arc::new(Calls { client, name: name.to_owned() });
        Self { stream, settings, timing: Timing::default() }
    }

    /// The same, on this clock and with these lots.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Makes sure that the stream is there, and keeps the records of one stream of events together.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such stream, it may not be looked at, or it deals out records without regard to their
    /// partition keys; `Unavailable` if the service does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        let summary = self.stream.summary().await?;
        if summary.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto) {
            let what = format!(
                "the stream {} deals out records without regard to their partition keys: set its record distribution \
                 strategy to go by them",
                self.stream.name
            );
            return Err(StorageError::new(ErrorKind::Refused, what));
        }
        Ok(())
    }
}

impl ShardSource for KinesisStream {
    type Record = Record;

    async fn name(&self) -> Result<String, StorageError> {
        let summary = self.stream.summary().await?;
        Ok(format!("{}@{}", summary.stream_arn(), summary.stream_creation_timestamp().secs()))
    }

    async fn retention(&self) -> Result<Duration, StorageError> {
        let hours = self.stream.summary().await?.retention_period_hours();
        Ok(Duration::from_secs(3600 * u64::try_from(hours).unwrap_or_default()))
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.stream.shards().await
    }

    fn records(&self, shard: &str, start: Start) -> BoxStream<'static, Result<Batch<Record>, ReadError>> {
        let stream = Arc::clone(&self.stream);
        poll(stream, shard.to_owned(), start, self.settings.clone(), self.timing.clone())
    }
}

/// The calls that are made of the service.
struct Calls {
    client: Client,
    name: String,
}

impl Calls {
    async fn summary(&self) -> Result<StreamDescriptionSummary, StorageError> {
        let call = self.client.describe_stream_summary().stream_name(&self.name).send();
        let answer = call.await.map_err(|error| self.failure("look at", error))?;
        answer.stream_description_summary.ok_or_else(|| self.cut_off("look at"))
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let call = self.client.list_shards();
            let call = match token.take() {
                // With a token, the service wants no name.
                Some(token) => call.next_token(token),
                None => call.stream_name(&self.name),
            };
            let answer = call.send().await.map_err(|error| self.failure("list the shards of", error))?;
            shards.extend(answer.shards.unwrap_or_default().into_iter().map(|shard| Shard {
                id: shard.shard_id,
                parents: shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id).collect(),
                is_open:
                    shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none()),
            }));
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    fn failure<E>(&self, what: &str, error: SdkError<E, HttpResponse>) -> StorageError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        service_error(&format!("cannot {what} the stream {}", self.name), error)
    }

    fn cut_off(&self, what: &str) -> StorageError {
        let what = format!("cannot {what} the stream {}: the answer was cut off", self.name);
        StorageError::new(ErrorKind::Unavailable, what)
    }
}

impl Polled for Calls {
    type Record = Record;

    async fn iterator(&self, shard: &str, start: &Start) -> Result<String, PollError> {
        let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let call = match start {
            Start::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            Start::Time(time) => {
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(date_time(*time))
            }
            Start::At(number) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(&**number),
            Start::After(number) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(&**number),
        };
        match call.send().await {
            Ok(answer) => {
                answer.shard_iterator.ok_or_else(|| PollError::Failed(self.cut_off("begin to read")))
            }
            Err(error) => {
                // The shard was removed once all of it was too old, or the number is none of this stream.
                let is_gone =
                    matches!(error.code(), Some("ResourceNotFoundException" | "InvalidArgumentException"));
                let error = self.failure(&format!("begin to read the shard {shard} of"), error);
                Err(if is_gone { PollError::Trimmed(error) } else { PollError::Failed(error) })
            }
        }
    }

    async fn read(&self, shard: &str, iterator: &str, limit: u32) -> Result<Polls<Record>, PollError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        match call.send().await {
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

/// A record of the service as one of ours.
pub(crate) fn numbered(record: aws_sdk_kinesis::types::Record) -> Numbered<Record> {
    Numbered {
        sequence_number: record.sequence_number.into(),
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
