//! The stream of a DynamoDB table, read by polling.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::ProvideErrorMetadata;
use aws_sdk_dynamodbstreams::types::{
    Record, ShardIteratorType, StreamDescription, StreamStatus, StreamViewType,
};
use eventsrc_aws::service_error;
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::{ErrorKind, StorageError};
use futures::stream::BoxStream;

use crate::kinesis::timestamp;
use crate::polling::{PollError, PolledRecords, PolledStream, PollingSettings, Timing, poll};
use crate::shard::Shard;
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// The stream of a DynamoDB table, read by polling. Cheap to clone.
///
/// The service supports at most two readers of one shard at a time and throttles others. It keeps records for 24 hours. It
/// cannot seek by time: [`StartPosition::Time`] begins with the oldest record.
#[derive(Clone)]
pub struct DynamoStream {
    stream: Arc<StreamClient>,
    settings: PollingSettings,
    timing: Timing,
}

impl DynamoStream {
    /// Finds the enabled stream of the table `table`.
    ///
    /// # Errors
    ///
    /// `Refused` if the table has no enabled stream or the permission to list streams is missing; `Unavailable` if the service
    /// does not answer.
    pub async fn of_table(client: Client, table: &str) -> Result<Self, StorageError> {
        let what = format!("cannot find the stream of the table {table}");
        let mut after = None;
        loop {
            let call = client.list_streams().table_name(table).set_exclusive_start_stream_arn(after);
            let answer = call.send().await.map_err(|error| service_error(&what, error))?;
            for arn in answer.streams.unwrap_or_default().into_iter().filter_map(|stream| stream.stream_arn) {
                let stream = StreamClient { client: client.clone(), arn };
                let description = stream.describe(None).await?;
                // A disabled stream is listed for another day.
                if matches!(description.stream_status, Some(StreamStatus::Enabled | StreamStatus::Enabling)) {
                    return Ok(Self::with(client, &stream.arn, PollingSettings::default()));
                }
            }
            after = answer.last_evaluated_stream_arn;
            if after.is_none() {
                let what = format!("the table {table} has no stream: enable it with the view type NEW_IMAGE");
                return Err(StorageError::new(ErrorKind::Refused, what));
            }
        }
    }

    /// Creates a reader of the stream with this ARN. No request is sent.
    pub fn with(client: Client, arn: &str, settings: PollingSettings) -> Self {
        let stream = Arc::new(StreamClient { client, arn: arn.to_owned() });
        // The service returns at most 1,000 records in one call.
        let records_per_call = settings.records_per_call.min(1000);
        Self { stream, settings: PollingSettings { records_per_call, ..settings }, timing: Timing::default() }
    }

    /// Replaces the settings.
    #[must_use]
    pub fn polled(self, settings: PollingSettings) -> Self {
        Self { timing: self.timing, ..Self::with(self.stream.client.clone(), &self.stream.arn, settings) }
    }

    /// Replaces the clock and the randomness.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Checks that the stream exists, is enabled, and contains new images of items.
    ///
    /// # Errors
    ///
    /// `Refused` if one of these does not hold or the permission to describe the stream is missing; `Unavailable` if the
    /// service does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        let description = self.stream.describe(None).await?;
        let refused = |what: &str| {
            let what = format!("the stream {} {what}", self.stream.arn);
            Err(StorageError::new(ErrorKind::Refused, what))
        };
        match description.stream_view_type {
            Some(StreamViewType::NewImage | StreamViewType::NewAndOldImages) => {}
            _ => return refused("has no new images: enable it with the view type NEW_IMAGE"),
        }
        match description.stream_status {
            Some(StreamStatus::Enabled | StreamStatus::Enabling) => Ok(()),
            _ => refused("is disabled: enable it with the view type NEW_IMAGE"),
        }
    }
}

impl ShardSource for DynamoStream {
    type Record = Record;

    async fn retention(&self) -> Result<Duration, StorageError> {
        Ok(Duration::from_secs(24 * 3600))
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let mut shards = Vec::new();
        let mut after = None;
        loop {
            let description = self.stream.describe(after).await?;
            shards.extend(description.shards.unwrap_or_default().into_iter().filter_map(|shard| {
                let range = shard.sequence_number_range;
                Some(Shard {
                    id: shard.shard_id?,
                    parents: shard.parent_shard_id.into_iter().collect(),
                    is_open: range.is_none_or(|range| range.ending_sequence_number.is_none()),
                })
            }));
            after = description.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(shards);
            }
        }
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

/// Requests to the service for one stream.
struct StreamClient {
    client: Client,
    arn: String,
}

impl StreamClient {
    fn cannot_read(&self, shard: &str) -> String {
        format!("cannot read the records of the shard {shard} of the stream {}", self.arn)
    }

    async fn describe(&self, after: Option<String>) -> Result<StreamDescription, StorageError> {
        let what = format!("cannot describe the stream {}", self.arn);
        let call = self.client.describe_stream().stream_arn(&self.arn).set_exclusive_start_shard_id(after);
        let answer = call.send().await.map_err(|error| service_error(&what, error))?;
        answer.stream_description.ok_or_else(|| {
            StorageError::new(ErrorKind::Unavailable, format!("{what}: the answer was cut off"))
        })
    }
}

impl PolledStream for StreamClient {
    type Record = Record;

    async fn iterator(&self, shard: &str, start: &StartPosition) -> Result<String, PollError> {
        let call = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let call = match start {
            StartPosition::TrimHorizon | StartPosition::Time(_) => {
                call.shard_iterator_type(ShardIteratorType::TrimHorizon)
            }
            StartPosition::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            StartPosition::At(number) => {
                call.shard_iterator_type(ShardIteratorType::AtSequenceNumber).sequence_number(&**number)
            }
            StartPosition::After(number) => {
                call.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(&**number)
            }
        };
        let what = format!("cannot get an iterator of the shard {shard} of the stream {}", self.arn);
        match call.send().await {
            Ok(answer) => answer.shard_iterator.ok_or_else(|| {
                let what = format!("{what}: the answer was cut off");
                PollError::Failed(StorageError::new(ErrorKind::Unavailable, what))
            }),
            Err(error) => {
                let is_gone =
                    matches!(error.code(), Some("TrimmedDataAccessException" | "ResourceNotFoundException"));
                let error = service_error(&what, error);
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
        match self.client.get_records().shard_iterator(iterator).limit(limit).send().await {
            Ok(answer) => {
                let bytes = answer.records().iter().filter_map(size).sum();
                // The service returns a list of records even if it is empty.
                let records = answer.records.and_then(|records| records.into_iter().map(sequenced).collect());
                let Some(records) = records else {
                    let what = format!("{}: the answer was cut off", self.cannot_read(shard));
                    return Err(PollError::Failed(StorageError::new(ErrorKind::Unavailable, what)));
                };
                Ok(PolledRecords { records, next: answer.next_shard_iterator, behind_latest: None, bytes })
            }
            Err(error) => {
                let code = error.code().map(str::to_owned);
                let failed = || service_error(&self.cannot_read(shard), error);
                Err(match code.as_deref() {
                    Some("ExpiredIteratorException") => PollError::Expired,
                    Some("TrimmedDataAccessException" | "ResourceNotFoundException") => {
                        PollError::Trimmed(failed())
                    }
                    _ => PollError::Failed(failed()),
                })
            }
        }
    }
}

fn size(record: &Record) -> Option<u64> {
    record.dynamodb.as_ref()?.size_bytes?.try_into().ok()
}

/// Converts a record of the SDK; `None` if it has no sequence number, which the service always sets.
fn sequenced(record: Record) -> Option<SequencedRecord<Record>> {
    let change = record.dynamodb.as_ref()?;
    let sequence_number = change.sequence_number.clone()?;
    let arrived = change.approximate_creation_date_time.as_ref().and_then(timestamp);
    Some(SequencedRecord { sequence_number, arrived, record })
}
