//! Requests about a Kinesis stream that readers and publishers share.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::{RecordDistributionStrategy, Shard, StreamDescriptionSummary, StreamStatus};
use eventsrc_aws::service_error;
use eventsrc_core::clock::Clock;
use eventsrc_core::{ErrorKind, StorageError};

/// A Kinesis stream, identified by its name.
pub(crate) struct NamedStream {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl NamedStream {
    pub(crate) async fn summary(&self) -> Result<StreamDescriptionSummary, StorageError> {
        let call = self.client.describe_stream_summary().stream_name(&self.name).send();
        let answer = call.await.map_err(|error| self.failure("describe", error))?;
        answer.stream_description_summary.ok_or_else(|| self.truncated("describe"))
    }

    /// Creates the stream if it does not exist, and waits until it is active.
    pub(crate) async fn create(&self, shards: u32, clock: &dyn Clock) -> Result<(), StorageError> {
        let shards = i32::try_from(shards).unwrap_or(i32::MAX);
        match self.client.create_stream().stream_name(&self.name).shard_count(shards).send().await {
            Ok(_) => {}
            // The stream exists already.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(self.failure("create", error)),
        }
        while !matches!(self.summary().await?.stream_status, StreamStatus::Active | StreamStatus::Updating) {
            clock.sleep(STATUS_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Lists the shards that the stream still has, including closed ones.
    pub(crate) async fn list_shards(&self) -> Result<Vec<Shard>, StorageError> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let call = self.client.list_shards();
            let call = match token.take() {
                // The service rejects a name next to a token.
                Some(token) => call.next_token(token),
                None => call.stream_name(&self.name),
            };
            let answer = call.send().await.map_err(|error| self.failure("list the shards of", error))?;
            shards.extend(answer.shards.unwrap_or_default());
            token = answer.next_token;
            if token.is_none() {
                // Every stream has shards, so an empty list is a truncated answer.
                return if shards.is_empty() {
                    Err(self.truncated("list the shards of"))
                } else {
                    Ok(shards)
                };
            }
        }
    }

    /// Lists the shards with their parents.
    pub(crate) async fn shards(&self) -> Result<Vec<crate::shard::Shard>, StorageError> {
        let shards = self.list_shards().await?.into_iter().map(|shard| crate::shard::Shard {
            is_open: is_open(&shard),
            id: shard.shard_id,
            parents: shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id).collect(),
        });
        Ok(shards.collect())
    }

    /// Returns the duration for which the stream keeps its records.
    pub(crate) async fn retention(&self) -> Result<Duration, StorageError> {
        let hours = self.summary().await?.retention_period_hours();
        Ok(Duration::from_secs(3600 * u64::try_from(hours).unwrap_or_default()))
    }

    /// Checks that the stream assigns records to shards by partition key.
    pub(crate) fn check_distribution(&self, summary: &StreamDescriptionSummary) -> Result<(), StorageError> {
        if summary.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto) {
            return Err(self.refused(
                "distributes records without regard to their partition keys: change its record distribution",
            ));
        }
        Ok(())
    }

    /// Returns the error of a stream with an unsuitable configuration.
    pub(crate) fn refused(&self, reason: &str) -> StorageError {
        StorageError::new(ErrorKind::Refused, format!("the stream {} {reason}", self.name))
    }

    pub(crate) fn failure<E>(&self, what: &str, error: SdkError<E, HttpResponse>) -> StorageError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        service_error(&format!("cannot {what} the stream {}", self.name), error)
    }

    /// Returns the error of an answer in which a mandatory part is missing.
    pub(crate) fn truncated(&self, what: &str) -> StorageError {
        let what = format!("cannot {what} the stream {}: the answer was cut off", self.name);
        StorageError::new(ErrorKind::Unavailable, what)
    }
}

/// True if the shard accepts new records.
pub(crate) fn is_open(shard: &Shard) -> bool {
    shard.sequence_number_range().is_none_or(|range| range.ending_sequence_number().is_none())
}

/// Wait between two requests for the status of a new stream.
const STATUS_POLL_INTERVAL: Duration = Duration::from_millis(200);
