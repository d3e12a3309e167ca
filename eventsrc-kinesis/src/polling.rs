//! Reading a shard by polling.

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

/// Intervals and limits of the calls that poll one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollingSettings {
    /// Shortest interval between two calls. A Kinesis shard allows five calls a second, shared by all of its readers.
    /// Default: 200 ms.
    pub shortest_wait: Duration,
    /// Longest interval between two calls while the shard has no new records. Default: 400 ms.
    pub longest_wait: Duration,
    /// Maximum number of records in the answer to one call. Default: 10,000.
    pub records_per_call: u32,
    /// Maximum read rate, in bytes per second. A Kinesis shard allows 2 MB, shared by all of its readers. Default: 2 MiB.
    pub bytes_per_second: u64,
    /// Timeout of one call; a call that exceeds it is retried. Default: 10 s.
    pub call_timeout: Duration,
    /// Backoff between retries of a failed call. Default: [`BackoffSettings::default`].
    pub retry: BackoffSettings,
    /// Time without a successful call after which reading the shard fails, so that another worker takes it. Default: 60 s.
    pub give_up_after: Duration,
}

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

/// A stream whose shards are read by polling with a shard iterator. Each answer contains the iterator of the next call.
pub(crate) trait PolledStream: Send + Sync + 'static {
    type Record: Send + Sync + 'static;

    /// Requests an iterator that begins at `start`.
    fn iterator(
        &self,
        shard: &str,
        start: &StartPosition,
    ) -> impl Future<Output = Result<String, PollError>> + Send;

    /// Reads the records at the iterator.
    fn read(
        &self,
        shard: &str,
        iterator: &str,
        limit: u32,
    ) -> impl Future<Output = Result<PolledRecords<Self::Record>, PollError>> + Send;
}

/// Answer to one call.
pub(crate) struct PolledRecords<R> {
    pub(crate) records: Vec<SequencedRecord<R>>,
    /// Iterator of the next call; `None` at the end of the shard.
    pub(crate) next: Option<String>,
    /// Time between these records and the latest record of the shard.
    pub(crate) behind_latest: Option<Duration>,
    /// Size of the records, in bytes.
    pub(crate) bytes: u64,
}

/// Error of one call.
pub(crate) enum PollError {
    /// The iterator has expired; a new one is requested.
    Expired,
    /// The stream no longer has the requested records.
    Trimmed(StorageError),
    /// Any other error.
    Failed(StorageError),
}

impl PollError {
    /// Error of a call that exceeded its timeout.
    pub(crate) fn timed_out(shard: &str) -> Self {
        let what = format!("cannot read the shard {shard}: there was no answer in time");
        Self::Failed(StorageError::new(ErrorKind::Unavailable, what))
    }
}

/// Clock and randomness of a source or a publisher.
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
    /// Runs `work`; returns `None` if it takes longer than `limit`.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.clock.sleep(limit)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Reads the records of a shard from `start` on.
pub(crate) fn poll<P: PolledStream>(
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
                        // If the iterator expires before it returns a record, records from now on must not be missed.
                        start = StartPosition::Time(minus_clock_skew(timing.clock.now()));
                    }
                }
                let current = iterator.as_deref().unwrap_or_default();
                polled.read(&shard, current, settings.records_per_call).await
            };
            let answer = timing.within(settings.call_timeout, call).await;
            match answer.unwrap_or_else(|| Err(PollError::timed_out(&shard))) {
                Ok(PolledRecords { records, next, behind_latest, bytes }) => {
                    retry = settings.retry.start();
                    answered = timing.clock.elapsed();
                    if let Some(last) = records.last() {
                        start = StartPosition::After(last.sequence_number.as_str().into());
                    }
                    let is_idle = records.is_empty() && behind_latest.is_none_or(|time| time.is_zero());
                    wait = if is_idle {
                        (wait * 2).min(settings.longest_wait).max(settings.shortest_wait)
                    } else {
                        settings.shortest_wait
                    };
                    yield Ok(RecordBatch { records, behind_latest });
                    iterator = next;
                    if iterator.is_none() {
                        return;
                    }
                    let rest = wait.max(transfer_time(bytes, settings.bytes_per_second));
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
                    let unanswered = timing.clock.elapsed().saturating_sub(answered);
                    if error.kind() != ErrorKind::Unavailable || unanswered >= settings.give_up_after {
                        yield Err(ReadError::Failed(error));
                        return;
                    }
                    tracing::warn!(shard, error = %error, "cannot read the shard; retrying");
                    metrics::counter!("eventsrc_kinesis_failed_calls_total").increment(1);
                    timing.clock.sleep(retry.wait(&timing.randomness).max(settings.shortest_wait)).await;
                }
            }
        }
    }
    .boxed()
}

/// Returns a time that is before `now` on every clock: the clocks of the service and of this machine may differ by up to
/// five minutes.
pub(crate) fn minus_clock_skew(now: Timestamp) -> Timestamp {
    now.saturating_sub(Duration::from_secs(300)).unwrap_or(Timestamp::MIN)
}

/// Returns the time that `bytes` take at `rate` bytes per second.
fn transfer_time(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)
}
