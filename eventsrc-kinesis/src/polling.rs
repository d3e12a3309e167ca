//! Reading a shard by asking again and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{ErrorKind, StorageError, Timestamp};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;

use crate::source::{ReadError, RecordBatch, SequencedRecord, StartPosition};

/// How often a shard is asked for records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollingSettings {
    /// How long to wait at least from one call to the next. A shard of Kinesis allows five calls a second, to all its readers
    /// together.
    pub shortest_wait: Duration,
    /// How long to wait at most, when nothing comes.
    pub longest_wait: Duration,
    /// How many records a call brings at most.
    pub records_per_call: u32,
    /// How many bytes a second are read. A shard of Kinesis allows 2 MB, to all its readers together.
    pub bytes_per_second: u64,
    /// How long a call may take before it is given up and made again.
    pub call_timeout: Duration,
    /// How long to wait before a call that failed is made again.
    pub retry: BackoffSettings,
    /// For how long a shard is tried that gives no answer, before somebody else shall try.
    pub give_up_after: Duration,
}

/// From 200 to 400 ms between calls for 10,000 records and 2 MB a second, calls of 10 seconds, and a minute without an answer.
impl Default for PollingSettings {
    fn default() -> Self {
        Self {
            shortest_wait: Duration::from_millis(200),
            longest_wait: Duration::from_millis(400),
            records_per_call: 10_000,
            bytes_per_second: 2 << 20,
            call_timeout: Duration::from_secs(10),
            retry: BackoffSettings::default(),
            give_up_after: Duration::from_secs(60),
        }
    }
}

/// A stream of which a shard is read call by call, with an iterator that goes from answer to call.
pub(crate) trait Polled: Send + Sync + 'static {
    type Record: Send + Sync + 'static;

    /// An iterator that begins at `start`.
    fn iterator(
        &self,
        shard: &str,
        start: &StartPosition,
    ) -> impl Future<Output = Result<String, PollError>> + Send;

    /// What the iterator gives.
    fn read(
        &self,
        shard: &str,
        iterator: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Polls<Self::Record>, PollError>> + Send;
}

/// What one call brought.
pub(crate) struct Polls<R> {
    pub(crate) records: Vec<SequencedRecord<R>>,
    /// Where to go on; `None` at the end of the shard.
    pub(crate) next: Option<String>,
    pub(crate) behind: Option<Duration>,
    /// How many bytes the records hold.
    pub(crate) bytes: u64,
}

/// Why one call brought nothing.
pub(crate) enum PollError {
    /// The iterator is too old; another one goes on.
    Expired,
    /// The stream does not have any more what was asked for.
    Trimmed(StorageError),
    /// Anything else.
    Failed(StorageError),
}

impl PollError {
    pub(crate) fn silence(shard: &str) -> Self {
        let what = format!("cannot read the shard {shard}: there was no answer in time");
        Self::Failed(StorageError::new(ErrorKind::Unavailable, what))
    }
}

/// What tells the time, and draws lots.
#[derive(Clone)]
pub(crate) struct Timing {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<Randomness>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), randomness: Arc::new(Randomness::from_system()) }
    }
}

impl Timing {
    /// What `work` gives, if it is done within `limit`.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.clock.sleep(limit)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// The records of a shard from `start` on.
pub(crate) fn poll<P: Polled>(
    polled: Arc<P>,
    shard: String,
    start: StartPosition,
    settings: PollingSettings,
    timing: Timing,
) -> BoxStream<'static, Result<RecordBatch<P::Record>, ReadError>> {
    stream! {
        let mut start = start;
        let mut iterator: Option<String> = None;
        let mut retry = settings.retry.start();
        let mut answered = timing.clock.elapsed();
        let mut wait = settings.shortest_wait;
        loop {
            let called = timing.clock.elapsed();
            let call = async {
                if iterator.is_none() {
                    iterator = Some(polled.iterator(&shard, &start).await?);
                    if start == StartPosition::Latest {
                        // What comes from now on must not be missed if the iterator is lost before it brings a record.
                        start = StartPosition::Time(before(timing.clock.now()));
                    }
                }
                let current = iterator.as_deref().unwrap_or_default();
                polled.read(&shard, current, settings.records_per_call).await
            };
            let answer = timing.within(settings.call_timeout, call).await;
            match answer.unwrap_or_else(|| Err(PollError::silence(&shard))) {
                Ok(Polls { records, next, behind, bytes }) => {
                    retry = settings.retry.start();
                    answered = timing.clock.elapsed();
                    if let Some(last) = records.last() {
                        start = StartPosition::After(last.sequence_number.as_str().into());
                    }
                    let is_idle = records.is_empty() && behind.is_none_or(|behind| behind.is_zero());
                    wait = if is_idle {
                        (wait * 2).min(settings.longest_wait).max(settings.shortest_wait)
                    } else {
                        settings.shortest_wait
                    };
                    yield Ok(RecordBatch { records, behind });
                    iterator = next;
                    if iterator.is_none() {
                        return;
                    }
                    let rest = wait.max(time_for(bytes, settings.bytes_per_second));
                    let rest = rest.saturating_sub(timing.clock.elapsed().saturating_sub(called));
                    if !rest.is_zero() {
                        timing.clock.sleep(rest).await;
                    }
                }
                Err(PollError::Expired) => {
                    iterator = None;
                    timing.clock.sleep(settings.shortest_wait).await;
                }
                Err(PollError::Trimmed(error)) => {
                    yield Err(ReadError::Trimmed(error));
                    return;
                }
                Err(PollError::Failed(error)) => {
                    let silent = timing.clock.elapsed().saturating_sub(answered);
                    if error.kind() != ErrorKind::Unavailable || silent >= settings.give_up_after {
                        yield Err(ReadError::Failed(error));
                        return;
                    }
                    tracing::warn!(shard, error = %error, "cannot read a shard; trying again");
                    metrics::counter!("eventsrc_kinesis_failed_calls_total").increment(1);
                    timing.clock.sleep(retry.wait(&timing.randomness).max(settings.shortest_wait)).await;
                }
            }
        }
    }
    .boxed()
}

/// A time that lies before `now` by any clock: that of the service and that of this machine may differ by a little.
pub(crate) fn before(now: Timestamp) -> Timestamp {
    now.saturating_sub(Duration::from_secs(300)).unwrap_or(Timestamp::MIN)
}

/// How long `bytes` take at this rate.
fn time_for(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)
}
