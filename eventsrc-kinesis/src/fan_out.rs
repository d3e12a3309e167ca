//! Kinesis streams, read by enhanced fan-out: the service pushes the records.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{
    ConsumerStatus, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{ErrorKind, StorageError};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::kinesis::{Position, sequenced};
use crate::named_stream::NamedStream;
use crate::polling::{PollError, Timing, minus_clock_skew};
use crate::record::Record;
use crate::shard::{Shard, compare_sequence_numbers};
use crate::source::{ReadError, RecordBatch, ShardSource, StartPosition};

/// A Kinesis stream, read by enhanced fan-out. Cheap to clone.
///
/// The service pushes records to one group of readers without a polling interval. Each group has a throughput of its own of
/// 2 MB a second for each shard. The service charges by the hour and by the byte.
///
/// The group must be registered as a consumer of the stream; all of its workers use the same registration.
#[derive(Clone)]
pub struct FanOutStream {
    stream: Arc<NamedStream>,
    registration: Arc<str>,
    settings: FanOutSettings,
    timing: Timing,
}

/// Intervals and timeouts of the subscriptions to shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanOutSettings {
    /// Time without any event, even an empty one, after which a subscription is replaced by a new one. Default: 60 s.
    pub silence: Duration,
    /// Shortest interval between two subscriptions to one shard. The service rejects a subscription within five seconds of
    /// the previous one. Default: 5 s.
    pub between_calls: Duration,
    /// Timeout of one call; a call that exceeds it is retried. Default: 10 s.
    pub call_timeout: Duration,
    /// Backoff between retries of a failed call. Default: [`BackoffSettings::default`].
    pub retry: BackoffSettings,
    /// Time without a successful call after which reading the shard fails, so that another worker takes it. Default: 60 s.
    pub give_up_after: Duration,
}

impl Default for FanOutSettings {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            between_calls: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            retry: BackoffSettings::default(),
            give_up_after: Duration::from_secs(60),
        }
    }
}

impl FanOutStream {
    /// Creates a reader of the stream `stream` for the group whose registration has this ARN. No request is sent.
    pub fn new(client: Client, stream: &str, registration: &str) -> Self {
        Self {
            stream: Arc::new(NamedStream { client, name: stream.to_owned() }),
            registration: registration.into(),
            settings: FanOutSettings::default(),
            timing: Timing::default(),
        }
    }

    /// Creates a reader of the stream `stream` for the group `consumer`. Registers the group if it is not registered, and
    /// waits until the registration is active.
    ///
    /// # Errors
    ///
    /// `Refused` if the stream does not exist or the permission is missing; otherwise the error of the service.
    pub async fn register(client: Client, stream: &str, consumer: &str) -> Result<Self, StorageError> {
        let (named, timing) = (NamedStream { client, name: stream.to_owned() }, Timing::default());
        let arn = named.summary().await?.stream_arn;
        let register = named.client.register_stream_consumer().stream_arn(&arn).consumer_name(consumer);
        match register.send().await {
            Ok(_) => {}
            // The group is registered already.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(named.failure(&format!("register {consumer} as a consumer of"), error)),
        }
        loop {
            let describe = named.client.describe_stream_consumer().stream_arn(&arn).consumer_name(consumer);
            let what = format!("describe the consumer {consumer} of");
            let answer = describe.send().await.map_err(|error| named.failure(&what, error))?;
            let description = answer.consumer_description.ok_or_else(|| named.truncated(&what))?;
            if description.consumer_status == ConsumerStatus::Active {
                return Ok(Self::new(named.client, stream, &description.consumer_arn));
            }
            timing.clock.sleep(STATUS_POLL_INTERVAL).await;
        }
    }

    /// Replaces the settings.
    #[must_use]
    pub fn with(self, settings: FanOutSettings) -> Self {
        Self { settings, ..self }
    }

    /// Replaces the clock and the randomness.
    #[must_use]
    pub fn timed_by(self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        Self { timing: Timing { clock, randomness }, ..self }
    }

    /// Checks that the stream exists and keeps the records of one event stream in one shard.
    ///
    /// # Errors
    ///
    /// See [`KinesisStream::check`](crate::KinesisStream::check).
    pub async fn check(&self) -> Result<(), StorageError> {
        self.stream.check_distribution(&self.stream.summary().await?)
    }

    async fn subscribe(
        &self,
        shard: &str,
        start: &StartPosition,
    ) -> Result<SubscribeToShardOutput, PollError> {
        let Position { kind, number, time } = Position::of(start);
        let position =
            StartingPosition::builder().r#type(kind).set_sequence_number(number).set_timestamp(time);
        let call = self.stream.client.subscribe_to_shard().consumer_arn(&*self.registration);
        let call = call.shard_id(shard).starting_position(position.build().expect("it has a type"));
        match call.send().await {
            Ok(subscribed) => Ok(subscribed),
            Err(error) => {
                let is_gone = match error.code() {
                    Some("ResourceNotFoundException") => self.is_registered().await?,
                    Some("InvalidArgumentException") => {
                        matches!(start, StartPosition::At(_) | StartPosition::After(_))
                    }
                    _ => false,
                };
                let error = self.stream.failure(&format!("subscribe to the shard {shard} of"), error);
                Err(if is_gone { PollError::Trimmed(error) } else { PollError::Failed(error) })
            }
        }
    }

    /// Returns false if the registration is gone, for which the service reports the same error as for a missing shard.
    async fn is_registered(&self) -> Result<bool, PollError> {
        let describe = self.stream.client.describe_stream_consumer().consumer_arn(&*self.registration);
        match describe.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(PollError::Failed(self.stream.failure("describe a consumer of", error))),
        }
    }
}

impl ShardSource for FanOutStream {
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
        let (this, shard) = (self.clone(), shard.to_owned());
        stream! {
            let FanOutStream { settings, timing, .. } = &this;
            let mut start = start;
            let mut retry = settings.retry.start();
            let mut answered = timing.clock.elapsed();
            let mut last: Option<String> = None;
            loop {
                let called = timing.clock.elapsed();
                let answer = timing.within(settings.call_timeout, this.subscribe(&shard, &start)).await;
                let mut subscribed = match answer.unwrap_or_else(|| Err(PollError::timed_out(&shard))) {
                    Ok(subscribed) => subscribed,
                    Err(PollError::Trimmed(error)) => {
                        yield Err(ReadError::Trimmed(error));
                        return;
                    }
                    Err(PollError::Expired) => continue,
                    Err(PollError::Failed(error)) => {
                        let unanswered = timing.clock.elapsed().saturating_sub(answered);
                        if error.kind() != ErrorKind::Unavailable || unanswered >= settings.give_up_after {
                            yield Err(ReadError::Failed(error));
                            return;
                        }
                        report(&shard, &error);
                        timing.clock.sleep(retry.wait(&timing.randomness).max(MIN_WAIT)).await;
                        continue;
                    }
                };
                if start == StartPosition::Latest {
                    // If the subscription ends before its first record, records from now on must not be missed.
                    start = StartPosition::Time(minus_clock_skew(timing.clock.now()));
                }
                loop {
                    match timing.within(settings.silence, subscribed.event_stream.recv()).await {
                        Some(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                            retry = settings.retry.start();
                            answered = timing.clock.elapsed();
                            let has_ended = has_ended(&event);
                            if !event.continuation_sequence_number.is_empty() {
                                // This may be the number of the last record; `batch` drops repeated records.
                                start = StartPosition::At(event.continuation_sequence_number.as_str().into());
                            }
                            yield Ok(batch(event, &mut last));
                            if has_ended {
                                return;
                            }
                        }
                        // An event type that this version does not know.
                        Some(Ok(Some(_))) => {}
                        // The service ends a subscription after five minutes.
                        Some(Ok(None)) => break,
                        Some(Err(error)) => {
                            let what = format!("the subscription to the shard {shard} failed");
                            report(&shard, &StorageError::new(ErrorKind::Unavailable, what).because(error));
                            break;
                        }
                        None => {
                            let silence = settings.silence;
                            let what = format!("the subscription to the shard {shard} sent no event for {silence:?}");
                            report(&shard, &StorageError::new(ErrorKind::Unavailable, what));
                            break;
                        }
                    }
                }
                drop(subscribed);
                let rest = settings.between_calls.saturating_sub(timing.clock.elapsed().saturating_sub(called));
                timing.clock.sleep(rest).await;
            }
        }
        .boxed()
    }
}

/// True if the shard has ended. At its end, some servers omit the continuation number, and others still send one.
fn has_ended(event: &SubscribeToShardEvent) -> bool {
    let is_split = !event.child_shards().is_empty();
    event.continuation_sequence_number.is_empty() || (is_split && event.records.is_empty())
}

/// Returns the records of an event that come after `last`.
fn batch(event: SubscribeToShardEvent, last: &mut Option<String>) -> RecordBatch<Record> {
    let behind_latest = u64::try_from(event.millis_behind_latest).ok().map(Duration::from_millis);
    let mut records: Vec<_> = event.records.into_iter().map(sequenced).collect();
    if let Some(last) = last {
        records.retain(|record| compare_sequence_numbers(&record.sequence_number, last) == Ordering::Greater);
    }
    if let Some(record) = records.last() {
        *last = Some(record.sequence_number.clone());
    }
    RecordBatch { records, behind_latest }
}

/// Logs and counts a failure that is retried.
fn report(shard: &str, error: &StorageError) {
    tracing::warn!(shard, error = %error, "cannot read the shard; retrying");
    metrics::counter!("eventsrc_kinesis_failed_calls_total").increment(1);
}

/// Wait between two requests for the status of a new registration.
const STATUS_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Lower bound of the random backoff, so that no retry loop spins.
const MIN_WAIT: Duration = Duration::from_millis(100);
