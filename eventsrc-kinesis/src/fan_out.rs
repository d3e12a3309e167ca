//! Reading a shard by having its records sent, which the service calls enhanced fan-out.

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

use crate::kinesis::{Position, numbered};
use crate::named_stream::NamedStream;
use crate::polling::{PollError, Timing, before};
use crate::record::Record;
use crate::shard::{Shard, compare_sequence_numbers};
use crate::source::{ReadError, RecordBatch, ShardSource, StartPosition};

/// A stream of Kinesis Data Streams whose records are sent to one group of readers, at 2 MB a second and shard that it shares with
/// nobody, and without the wait between calls. It costs by the hour and by the byte. Cheap to clone.
///
/// The group has to be registered as a consumer of the stream; all its workers use the same registration.
#[derive(Clone)]
pub struct FanOutStream {
    stream: Arc<NamedStream>,
    registration: Arc<str>,
    settings: FanOutSettings,
    timing: Timing,
}

/// How the records of a shard are asked for, and how long they are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanOutSettings {
    /// How long the service may send nothing, not even that there is nothing, before it is asked anew.
    pub silence: Duration,
    /// How long to wait at least from asking for a shard's records to asking again. The service refuses what comes sooner than
    /// after five seconds.
    pub between_calls: Duration,
    /// How long a call may take before it is given up and made again.
    pub call_timeout: Duration,
    /// How long to wait before a call that failed is made again.
    pub retry: BackoffSettings,
    /// For how long a shard is tried that gives no answer, before somebody else shall try.
    pub give_up_after: Duration,
}

/// A minute of silence, five seconds between calls, calls of 10 seconds, and a minute without an answer.
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
    /// The stream called `stream`, for the group that is registered under this ARN. Nothing is asked of the service.
    pub fn new(client: Client, stream: &str, registration: &str) -> Self {
        Self {
            stream: Arc::new(NamedStream { client, name: stream.to_owned() }),
            registration: registration.into(),
            settings: FanOutSettings::default(),
            timing: Timing::default(),
        }
    }

    /// The stream called `stream`, for the group called `consumer`, which is registered if it is not.
    ///
    /// # Errors
    ///
    /// `Refused` if there is no such stream, or the permission is missing; otherwise as the service fails.
    pub async fn register(client: Client, stream: &str, consumer: &str) -> Result<Self, StorageError> {
        let (named, timing) = (NamedStream { client, name: stream.to_owned() }, Timing::default());
        let arn = named.summary().await?.stream_arn;
        let register = named.client.register_stream_consumer().stream_arn(&arn).consumer_name(consumer);
        match register.send().await {
            Ok(_) => {}
            // It is, or somebody else was first.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(named.failure(&format!("register {consumer} as a consumer of"), error)),
        }
        loop {
            let look = named.client.describe_stream_consumer().stream_arn(&arn).consumer_name(consumer);
            let what = format!("look at the consumer {consumer} of");
            let answer = look.send().await.map_err(|error| named.failure(&what, error))?;
            let description = answer.consumer_description.ok_or_else(|| named.cut_off(&what))?;
            if description.consumer_status == ConsumerStatus::Active {
                return Ok(Self::new(named.client, stream, &description.consumer_arn));
            }
            timing.clock.sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The same, with these settings.
    #[must_use]
    pub fn with(self, settings: FanOutSettings) -> Self {
        Self { settings, ..self }
    }

    /// The same, on this clock and with these lots.
    #[must_use]
    pub fn timed_by(self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        Self { timing: Timing { clock, randomness }, ..self }
    }

    /// Makes sure that the stream is there, and keeps the records of one stream of events together.
    ///
    /// # Errors
    ///
    /// As [`KinesisStream::check`](crate::KinesisStream::check).
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
                let is_none = match error.code() {
                    Some("ResourceNotFoundException") => self.is_registered().await?,
                    Some("InvalidArgumentException") => {
                        matches!(start, StartPosition::At(_) | StartPosition::After(_))
                    }
                    _ => false,
                };
                let error = self.stream.failure(&format!("subscribe to the shard {shard} of"), error);
                Err(if is_none { PollError::Trimmed(error) } else { PollError::Failed(error) })
            }
        }
    }

    /// Of a registration that is gone, the service says the same as of a shard.
    async fn is_registered(&self) -> Result<bool, PollError> {
        let look = self.stream.client.describe_stream_consumer().consumer_arn(&*self.registration);
        match look.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(PollError::Failed(self.stream.failure("look at a consumer of", error))),
        }
    }
}

impl ShardSource for FanOutStream {
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
                let mut subscribed = match answer.unwrap_or_else(|| Err(PollError::silence(&shard))) {
                    Ok(subscribed) => subscribed,
                    Err(PollError::Trimmed(error)) => {
                        yield Err(ReadError::Trimmed(error));
                        return;
                    }
                    Err(PollError::Expired) => continue,
                    Err(PollError::Failed(error)) => {
                        let silence = timing.clock.elapsed().saturating_sub(answered);
                        if error.kind() != ErrorKind::Unavailable || silence >= settings.give_up_after {
                            yield Err(ReadError::Failed(error));
                            return;
                        }
                        failed(&shard, &error);
                        timing.clock.sleep(retry.wait(&timing.randomness).max(LEAST_WAIT)).await;
                        continue;
                    }
                };
                if start == StartPosition::Latest {
                    // What comes from now on must not be missed if this breaks off before it brings a record.
                    start = StartPosition::Time(before(timing.clock.now()));
                }
                loop {
                    match timing.within(settings.silence, subscribed.event_stream.recv()).await {
                        Some(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                            retry = settings.retry.start();
                            answered = timing.clock.elapsed();
                            let has_ended = has_ended(&event);
                            if !event.continuation_sequence_number.is_empty() {
                                // It may be that of the last record, and a record that comes twice does no harm.
                                start = StartPosition::At(event.continuation_sequence_number.as_str().into());
                            }
                            yield Ok(batch(event, &mut last));
                            if has_ended {
                                return;
                            }
                        }
                        // Something that is newer than this version.
                        Some(Ok(Some(_))) => {}
                        // A subscription lives for five minutes.
                        Some(Ok(None)) => break,
                        Some(Err(error)) => {
                            let what = format!("the subscription to the shard {shard} broke off");
                            failed(&shard, &StorageError::new(ErrorKind::Unavailable, what).because(error));
                            break;
                        }
                        None => {
                            let what = format!("the subscription to the shard {shard} has fallen silent");
                            failed(&shard, &StorageError::new(ErrorKind::Unavailable, what));
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

/// Whether there will be no more. Some servers say nothing of where to go on, and some go on to say where.
fn has_ended(event: &SubscribeToShardEvent) -> bool {
    let is_split = !event.child_shards().is_empty();
    event.continuation_sequence_number.is_empty() || (is_split && event.records.is_empty())
}

/// What an event brings that comes after `last`.
fn batch(event: SubscribeToShardEvent, last: &mut Option<String>) -> RecordBatch<Record> {
    let behind = u64::try_from(event.millis_behind_latest).ok().map(Duration::from_millis);
    let mut records: Vec<_> = event.records.into_iter().map(numbered).collect();
    if let Some(last) = last {
        records.retain(|record| compare_sequence_numbers(&record.sequence_number, last) == Ordering::Greater);
    }
    if let Some(record) = records.last() {
        *last = Some(record.sequence_number.clone());
    }
    RecordBatch { records, behind }
}

fn failed(shard: &str, error: &StorageError) {
    tracing::warn!(shard, error = %error, "cannot read a shard; trying again");
    metrics::counter!("eventsrc_kinesis_failed_calls_total").increment(1);
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Even a lucky draw does not turn waiting into spinning.
const LEAST_WAIT: Duration = Duration::from_millis(100);
