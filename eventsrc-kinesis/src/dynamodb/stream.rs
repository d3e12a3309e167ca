//! The stream of changes of a DynamoDB table.

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
use crate::polling::{PollError, Polled, PollingSettings, Polls, Timing, poll};
use crate::shard::Shard;
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// The stream of changes of a DynamoDB table, read by polling. Cheap to clone.
///
/// At most two readers read one shard of it at the same time, says the service; others are throttled. It keeps records for 24
/// hours. Where a time is asked for, it is read from the oldest record.
#[derive(Clone)]
pub struct DynamoStream {
    stream: Arc<Calls>,
    settings: PollingSettings,
    timing: Timing,
}

impl DynamoStream {
    /// The stream of the table called `table`, which is looked for among those of the service.
    ///
    /// # Errors
    ///
    /// `Refused` if the table has no stream that is switched on, or the permission to look is missing; `Unavailable` if the
    /// service does not answer.
    pub async fn of_table(client: Client, table: &str) -> Result<Self, StorageError> {
        let what = format!("cannot find the stream of the table {table}");
        let mut after = None;
        loop {
            let call = client.list_streams().table_name(table).set_exclusive_start_stream_arn(after);
            let answer = call.send().await.map_err(|error| service_error(&what, error))?;
            for arn in answer.streams.unwrap_or_default().into_iter().filter_map(|stream| stream.stream_arn) {
                let calls = Calls { client: client.clone(), arn };
                let description = calls.describe(None).await?;
                // One that was switched off stays for a day.
                if matches!(description.stream_status, Some(StreamStatus::Enabled | StreamStatus::Enabling)) {
                    return Ok(Self::with(client, &calls.arn, PollingSettings::default()));
                }
            }
            after = answer.last_evaluated_stream_arn;
            if after.is_none() {
                let what =
                    format!("the table {table} has no stream of changes: switch it on, with new images");
                return Err(StorageError::new(ErrorKind::Refused, what));
            }
        }
    }

    /// The stream of this ARN, with these settings. Nothing is asked of the service.
    pub fn with(client: Client, arn: &str, settings: PollingSettings) -> Self {
        let stream = Arc::new(Calls { client, arn: arn.to_owned() });
        // The service takes no more.
        let records_per_call = settings.records_per_call.min(1000);
        Self { stream, settings: PollingSettings { records_per_call, ..settings }, timing: Timing::default() }
    }

    /// The same stream, with these settings.
    #[must_use]
    pub fn polled(self, settings: PollingSettings) -> Self {
        Self { timing: self.timing, ..Self::with(self.stream.client.clone(), &self.stream.arn, settings) }
    }

    /// The same, on this clock and with these lots.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Makes sure that the stream is there, and brings what is stored.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such stream, it is switched off, or its records come without the new image of the item;
    /// `Unavailable` if the service does not answer.
    pub async fn check(&self) -> Result<(), StorageError> {
        let description = self.stream.describe(None).await?;
        let refused = |what: &str| {
            let what = format!("the stream {} {what}", self.stream.arn);
            Err(StorageError::new(ErrorKind::Refused, what))
        };
        match description.stream_view_type {
            Some(StreamViewType::NewImage | StreamViewType::NewAndOldImages) => {}
            _ => return refused("brings no new images: switch it on with the view type NEW_IMAGE"),
        }
        match description.stream_status {
            Some(StreamStatus::Enabled | StreamStatus::Enabling) => Ok(()),
            _ => refused("is switched off"),
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

/// The calls that are made of the service.
struct Calls {
    client: Client,
    arn: String,
}

impl Calls {
    fn cannot_read(&self, shard: &str) -> String {
        format!("cannot read the records of the shard {shard} of the stream {}", self.arn)
    }

    async fn describe(&self, after: Option<String>) -> Result<StreamDescription, StorageError> {
        let what = format!("cannot look at the stream {}", self.arn);
        let call = self.client.describe_stream().stream_arn(&self.arn).set_exclusive_start_shard_id(after);
        let answer = call.send().await.map_err(|error| service_error(&what, error))?;
        answer.stream_description.ok_or_else(|| {
            StorageError::new(ErrorKind::Unavailable, format!("{what}: the answer was cut off"))
        })
    }
}

impl Polled for Calls {
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
        let what = format!("cannot begin to read the shard {shard} of the stream {}", self.arn);
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

    async fn read(&self, shard: &str, iterator: &str, limit: u32) -> Result<Polls<Record>, PollError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        match self.client.get_records().shard_iterator(iterator).limit(limit).send().await {
            Ok(answer) => {
                let bytes = answer.records().iter().filter_map(size).sum();
                // The service always names records, if there are none as well.
                let records = answer.records.and_then(|records| records.into_iter().map(numbered).collect());
                let Some(records) = records else {
                    let what = format!("{}: the answer was cut off", self.cannot_read(shard));
                    return Err(PollError::Failed(StorageError::new(ErrorKind::Unavailable, what)));
                };
                Ok(Polls { records, next: answer.next_shard_iterator, behind: None, bytes })
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

/// A record and its place. The service gives every record a number.
fn numbered(record: Record) -> Option<SequencedRecord<Record>> {
    let change = record.dynamodb.as_ref()?;
    let sequence_number = change.sequence_number.clone()?;
    let arrived = change.approximate_creation_date_time.as_ref().and_then(timestamp);
    Some(SequencedRecord { sequence_number, arrived, record })
}
