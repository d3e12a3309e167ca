//! Publishing changes to a Kinesis stream.

mod queue;
mod shards;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::codec::Codec;
use eventsrc_core::feed::Change;
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};

use crate::named_stream::{NamedStream, is_open};
use crate::polling::Timing;
use crate::record::{Envelope, partition_key};
use queue::{Limits, Message, Queue, RecordEntry};
use shards::{ShardMap, hash};

/// Limits of records and calls, and the retries of a [`Publisher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherSettings {
    /// Maximum size of an aggregated record, in bytes; with `None`, each change is a record of its own. Default: 256 KiB.
    ///
    /// A Kinesis shard accepts a thousand records a second. Aggregated records are in the format of the Kinesis Producer
    /// Library, which the Kinesis Client Library and AWS Lambda can read.
    pub aggregate: Option<usize>,
    /// Maximum size of a record, in bytes. It must not exceed the limit of the stream. Default: 1 MiB.
    pub record_bytes: usize,
    /// Maximum number of records in one call. Default: 500, which is also the limit of the service.
    pub records_per_call: usize,
    /// Maximum size of one call, in bytes. Default: 4 MiB.
    pub bytes_per_call: usize,
    /// Backoff between retries of failed records. Default: [`BackoffSettings::default`].
    pub retry: BackoffSettings,
    /// Time without progress after which `publish` returns an error. Default: 60 s.
    pub give_up_after: Duration,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self {
            aggregate: Some(256 << 10),
            record_bytes: 1 << 20,
            records_per_call: 500,
            bytes_per_call: 4 << 20,
            retry: BackoffSettings::default(),
            give_up_after: Duration::from_secs(60),
        }
    }
}

/// Publishes changes to a Kinesis stream. The name of the event stream is the partition key.
///
/// - After `publish` has returned `Ok`, all changes are on the stream, each at least once.
/// - Changes of one event stream stay in order. If one fails, it is put again together with all later changes of the same
///   event stream, and no call contains two records of one event stream.
/// - A commit that is too large for a record, or cannot be encoded, is published as the hint [`Change::Stream`]. Consumers
///   then read the commit from the storage.
pub struct Publisher<K, S, E, C> {
    stream: NamedStream,
    envelope: Envelope<K, S, E, C>,
    settings: PublisherSettings,
    timing: Timing,
    shards: Mutex<Arc<ShardMap>>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Publisher<K, S, E, C> {
    /// Creates a publisher to the stream `stream` with [`PublisherSettings::default`]. No request is sent.
    pub fn new(client: Client, stream: &str, codec: C) -> Self {
        Self::with(client, stream, codec, PublisherSettings::default())
    }

    /// Creates a publisher to the stream `stream` with `settings`. No request is sent.
    pub fn with(client: Client, stream: &str, codec: C, settings: PublisherSettings) -> Self {
        Self {
            stream: NamedStream { client, name: stream.to_owned() },
            envelope: Envelope::with_codec(codec),
            settings,
            timing: Timing::default(),
            shards: Mutex::default(),
        }
    }

    /// Replaces the clock and the randomness.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Checks the configuration of the stream.
    ///
    /// The stream must exist, accept records of the size [`PublisherSettings::record_bytes`], keep the records of one event
    /// stream in one shard, and keep records for at least `retention`.
    ///
    /// # Errors
    ///
    /// `Refused` if one of these does not hold or the permission to describe the stream is missing; `Unavailable` if the
    /// service does not answer.
    pub async fn check(&self, retention: Duration) -> Result<(), StorageError> {
        let summary = self.stream.summary().await?;
        self.stream.check_distribution(&summary)?;
        let hours = u64::try_from(summary.retention_period_hours()).unwrap_or_default();
        if Duration::from_secs(3600 * hours) < retention {
            let least = retention.as_secs().div_ceil(3600);
            let reason =
                format!("keeps records for {hours} hours: set its retention to {least} hours or more");
            return Err(self.stream.refused(&reason));
        }
        let kibibytes = summary.max_record_size_in_kib().and_then(|size| usize::try_from(size).ok());
        match kibibytes {
            Some(kibibytes) if kibibytes << 10 < self.settings.record_bytes => {
                let reason = format!(
                    "accepts records of at most {kibibytes} KiB: raise its limit, or lower the setting `record_bytes`"
                );
                Err(self.stream.refused(&reason))
            }
            _ => Ok(()),
        }
    }

    /// Publishes `changes`, and waits until all of them are on the stream.
    ///
    /// # Errors
    ///
    /// `Unavailable` if retries do not succeed within [`PublisherSettings::give_up_after`], `Refused` if the permission is
    /// missing, and `Invalid` if a key is not the name of a stream. Some of the changes may be on the stream nevertheless.
    pub async fn publish(&self, changes: &[Change<K, S, E>]) -> Result<(), StorageError> {
        let messages = changes.iter().map(|change| self.message(change)).collect::<Result<Vec<_>, _>>()?;
        let mut queue = Queue::new(messages);
        let mut backoff = self.settings.retry.start();
        let mut since = self.timing.clock.elapsed();
        while !queue.is_empty() {
            let shards = self.known_shards().await?;
            let call = queue.next_call(self.limits(), &shards);
            let (sent, error) = self.put_records(call).await?;
            // A record on an unknown shard means that shards were split or merged.
            let is_outdated =
                sent.iter().any(|(_, shard)| shard.as_deref().is_some_and(|shard| !shards.contains(shard)));
            let shards = if is_outdated { self.refresh_shards().await? } else { shards };
            if queue.requeue_failed(sent, &shards) {
                backoff = self.settings.retry.start();
                since = self.timing.clock.elapsed();
                continue;
            }
            let error = error.unwrap_or_else(|| self.unavailable("shards were split or merged meanwhile"));
            if self.timing.clock.elapsed().saturating_sub(since) >= self.settings.give_up_after {
                return Err(error);
            }
            tracing::warn!(stream = self.stream.name, error = %error, "cannot put records; retrying");
            metrics::counter!("eventsrc_kinesis_failed_puts_total").increment(1);
            self.timing.clock.sleep(backoff.wait(&self.timing.randomness).max(MIN_WAIT)).await;
        }
        Ok(())
    }

    fn message(&self, change: &Change<K, S, E>) -> Result<Message, StorageError> {
        let (key, data) = match change {
            Change::Anything => (ANYTHING.into(), self.envelope.encode(change)?),
            Change::Stream(key) => (partition_key_of(key)?, self.envelope.encode(change)?),
            Change::Commit(commit) => {
                let data = match self.envelope.encode(change) {
                    Ok(data) if data.len() + OVERHEAD + LONGEST_KEY <= self.settings.record_bytes => data,
                    Ok(_) => self.envelope.encode(&Change::Stream(commit.key.clone()))?,
                    Err(error) => {
                        tracing::error!(error = %error, "cannot encode a commit; publishing a hint in its place");
                        self.envelope.encode(&Change::Stream(commit.key.clone()))?
                    }
                };
                (partition_key_of(&commit.key)?, data)
            }
        };
        Ok(Message { hash: hash(&key), key, data: data.into() })
    }

    /// Makes one call. Returns the shard of each record, `None` for a failed one, and an error of the failed ones.
    async fn put_records(
        &self,
        mut call: Vec<RecordEntry>,
    ) -> Result<(Vec<(RecordEntry, Option<String>)>, Option<StorageError>), StorageError> {
        let records = call.iter_mut().map(|entry| {
            let data = Blob::new(entry.take_data());
            PutRecordsRequestEntry::builder()
                .partition_key(entry.key())
                .data(data)
                .build()
                .expect("key and data are set")
        });
        let request = self
            .stream
            .client
            .put_records()
            .stream_name(&self.stream.name)
            .set_records(Some(records.collect()));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.stream.failure("put records onto", error);
                return match error.kind() {
                    ErrorKind::Unavailable => {
                        Ok((call.into_iter().map(|entry| (entry, None)).collect(), Some(error)))
                    }
                    _ => Err(error),
                };
            }
        };
        let mut results = answer.records.into_iter();
        let mut last_error = None;
        let sent = call.into_iter().map(|entry| {
            // A record without a result counts as failed.
            let result = results.next();
            let shard = match result {
                Some(PutRecordsResultEntry { shard_id: Some(shard), error_code: None, .. }) => Some(shard),
                Some(PutRecordsResultEntry { error_code: Some(code), .. }) => {
                    last_error = Some(self.unavailable(&code));
                    None
                }
                _ => None,
            };
            (entry, shard)
        });
        Ok((sent.collect(), last_error))
    }

    async fn known_shards(&self) -> Result<Arc<ShardMap>, StorageError> {
        let known = Arc::clone(&self.lock());
        if known.is_empty() { self.refresh_shards().await } else { Ok(known) }
    }

    async fn refresh_shards(&self) -> Result<Arc<ShardMap>, StorageError> {
        let open = self.stream.list_shards().await?.into_iter().filter(is_open).filter_map(|shard| {
            let range = shard.hash_key_range?;
            let (from, to) = (range.starting_hash_key.parse().ok()?, range.ending_hash_key.parse().ok()?);
            Some((from..=to, shard.shard_id))
        });
        let shards = Arc::new(ShardMap::new(open));
        *self.lock() = Arc::clone(&shards);
        Ok(shards)
    }

    fn limits(&self) -> Limits {
        let PublisherSettings { aggregate, record_bytes, records_per_call, bytes_per_call, .. } =
            self.settings;
        Limits {
            records: records_per_call.clamp(1, 500),
            bytes: bytes_per_call,
            aggregate: aggregate.map(|bytes| bytes.min(record_bytes.saturating_sub(OVERHEAD + LONGEST_KEY))),
        }
    }

    fn unavailable(&self, reason: &str) -> StorageError {
        let what = format!("cannot put records onto the stream {}: {reason}", self.stream.name);
        StorageError::new(ErrorKind::Unavailable, what)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ShardMap>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, S, E, C> fmt::Debug for Publisher<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("stream", &self.stream.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Returns the partition key of all records of an event stream.
fn partition_key_of<K: StreamKey>(key: &K) -> Result<Arc<str>, StorageError> {
    let name = StreamName::of(key).map_err(|error| {
        let what = "cannot publish: the key is not the name of a stream";
        StorageError::new(ErrorKind::Invalid, what).on(key).because(error)
    })?;
    Ok((&*partition_key(&name)).into())
}

/// Partition key of [`Change::Anything`]. It is not the name of a stream.
const ANYTHING: &str = "*";

/// Upper bound of the size of a record without its key and data, in bytes.
const OVERHEAD: usize = 64;

/// Maximum length of a partition key in Kinesis, in bytes: 256 characters of up to 4 bytes.
const LONGEST_KEY: usize = 1024;

/// Lower bound of the random backoff, so that no retry loop spins.
const MIN_WAIT: Duration = Duration::from_millis(10);
