//! Putting changes onto a stream of Kinesis.

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
use queue::{Entry, Limits, Message, Queue};
use shards::{ShardMap, hash};

/// How changes are put onto a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherSettings {
    /// How many bytes a record of several changes has at most; with `None`, each change is a record of its own.
    ///
    /// Kinesis takes a thousand records a second and shard. Records of several are in the format of the Kinesis Producer
    /// Library, which its client library and AWS Lambda read as well.
    pub aggregate: Option<usize>,
    /// How many bytes a record may have; the stream says how many it takes.
    pub record_bytes: usize,
    /// How many records a call has at most.
    pub records_per_call: usize,
    /// How many bytes a call has at most.
    pub bytes_per_call: usize,
    /// How long to wait before what failed is put again.
    pub retry: BackoffSettings,
    /// For how long it is put again before the caller is told.
    pub give_up_after: Duration,
}

/// Records of up to 256 KiB, or 1 MiB for a change that is larger; calls of 500 records or 4 MiB; and a minute.
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

/// Puts changes onto a stream of Kinesis, each under the name of its stream of events.
///
/// - What was put is there when `publish` has answered, and may be there several times.
/// - Changes of one stream of events come in their order: of what failed, all that comes after it of the same stream is put
///   again, and no call has two records of one stream.
/// - A commit that is too large for a record, or cannot be encoded, is told as [`Change::Stream`]: its readers read it from the
///   storage.
pub struct Publisher<K, S, E, C> {
    stream: NamedStream,
    envelope: Envelope<K, S, E, C>,
    settings: PublisherSettings,
    timing: Timing,
    shards: Mutex<Arc<ShardMap>>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Publisher<K, S, E, C> {
    /// Onto the stream called `stream`, with [`PublisherSettings::default`]. Nothing is asked of the service.
    pub fn new(client: Client, stream: &str, codec: C) -> Self {
        Self::with(client, stream, codec, PublisherSettings::default())
    }

    /// The same, with these settings.
    pub fn with(client: Client, stream: &str, codec: C, settings: PublisherSettings) -> Self {
        Self {
            stream: NamedStream { client, name: stream.to_owned() },
            envelope: Envelope::with_codec(codec),
            settings,
            timing: Timing::default(),
            shards: Mutex::default(),
        }
    }

    /// The same, on this clock and with these lots.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        self.timing = Timing { clock, randomness };
        self
    }

    /// Makes sure that the stream is there, takes records as large as the settings say, keeps the records of one stream of events
    /// together, and keeps them for at least `retention`.
    ///
    /// # Errors
    ///
    /// `Refused` if that is not so, or the stream may not be looked at; `Unavailable` if the service does not answer.
    pub async fn check(&self, retention: Duration) -> Result<(), StorageError> {
        let summary = self.stream.summary().await?;
        self.stream.check_distribution(&summary)?;
        let hours = u64::try_from(summary.retention_period_hours()).unwrap_or_default();
        if Duration::from_secs(3600 * hours) < retention {
            let least = retention.as_secs().div_ceil(3600);
            let why = format!("keeps records for {hours} hours: have it keep them for {least} at least");
            return Err(self.stream.refused(&why));
        }
        let kibibytes = summary.max_record_size_in_kib().and_then(|size| usize::try_from(size).ok());
        match kibibytes {
            Some(kibibytes) if kibibytes << 10 < self.settings.record_bytes => {
                let why = format!(
                    "takes records of {kibibytes} KiB at most, and larger ones are to be put onto it"
                );
                Err(self.stream.refused(&why))
            }
            _ => Ok(()),
        }
    }

    /// Puts `changes` onto the stream, and waits until they are there.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the service does not take them for a while, `Refused` if it may not be asked to, and `Invalid` for a key
    /// that names no stream. Some of the changes may be there.
    pub async fn publish(&self, changes: &[Change<K, S, E>]) -> Result<(), StorageError> {
        let messages = changes.iter().map(|change| self.message(change)).collect::<Result<Vec<_>, _>>()?;
        let mut queue = Queue::new(messages);
        let mut backoff = self.settings.retry.start();
        let mut since = self.timing.clock.elapsed();
        while !queue.is_empty() {
            let shards = self.known_shards().await?;
            let call = queue.next_call(self.limits(), &shards);
            let (sent, trouble) = self.call(call).await?;
            // Shards were split or merged, or there is no telling which record went where.
            let is_astray =
                sent.iter().any(|(_, shard)| shard.as_deref().is_some_and(|shard| !shards.has(shard)));
            let shards = if is_astray { self.look_for_shards().await? } else { shards };
            if queue.take_back(sent, &shards) {
                backoff = self.settings.retry.start();
                since = self.timing.clock.elapsed();
                continue;
            }
            let trouble = trouble.unwrap_or_else(|| self.trouble("they came to shards that are not theirs"));
            if self.timing.clock.elapsed().saturating_sub(since) >= self.settings.give_up_after {
                return Err(trouble);
            }
            tracing::warn!(stream = self.stream.name, error = %trouble, "cannot put records; trying again");
            metrics::counter!("eventsrc_kinesis_failed_puts_total").increment(1);
            self.timing.clock.sleep(backoff.wait(&self.timing.randomness).max(LEAST_WAIT)).await;
        }
        Ok(())
    }

    fn message(&self, change: &Change<K, S, E>) -> Result<Message, StorageError> {
        let (key, data) = match change {
            Change::Anything => (ANYTHING.into(), self.envelope.encode(change)?),
            Change::Stream(key) => (partition(key)?, self.envelope.encode(change)?),
            Change::Commit(commit) => {
                let data = match self.envelope.encode(change) {
                    Ok(data) if data.len() + OVERHEAD + LONGEST_KEY <= self.settings.record_bytes => data,
                    Ok(_) => self.envelope.encode(&Change::Stream(commit.key.clone()))?,
                    Err(error) => {
                        tracing::error!(error = %error, "cannot publish a commit; its readers are told to read it");
                        self.envelope.encode(&Change::Stream(commit.key.clone()))?
                    }
                };
                (partition(&commit.key)?, data)
            }
        };
        Ok(Message { hash: hash(&key), key, data: data.into() })
    }

    /// Makes one call, and gives where each record went, as far as it did; and why not, of one that did not.
    async fn call(
        &self,
        mut call: Vec<Entry>,
    ) -> Result<(Vec<(Entry, Option<String>)>, Option<StorageError>), StorageError> {
        let records = call.iter_mut().map(|entry| {
            let data = Blob::new(entry.take_data());
            PutRecordsRequestEntry::builder()
                .partition_key(entry.key())
                .data(data)
                .build()
                .expect("it has both")
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
        let mut trouble = None;
        let sent = call.into_iter().map(|entry| {
            // What the answer says nothing of may not be there.
            let result = results.next();
            let shard = match result {
                Some(PutRecordsResultEntry { shard_id: Some(shard), error_code: None, .. }) => Some(shard),
                Some(PutRecordsResultEntry { error_code: Some(code), .. }) => {
                    trouble = Some(self.trouble(&code));
                    None
                }
                _ => None,
            };
            (entry, shard)
        });
        Ok((sent.collect(), trouble))
    }

    async fn known_shards(&self) -> Result<Arc<ShardMap>, StorageError> {
        let known = Arc::clone(&self.lock());
        if known.is_empty() { self.look_for_shards().await } else { Ok(known) }
    }

    async fn look_for_shards(&self) -> Result<Arc<ShardMap>, StorageError> {
        let open = self.stream.shards().await?.into_iter().filter(is_open).filter_map(|shard| {
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

    fn trouble(&self, why: &str) -> StorageError {
        let what = format!("cannot put records onto the stream {}: {why}", self.stream.name);
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

/// What everything of a stream of events is put under.
fn partition<K: StreamKey>(key: &K) -> Result<Arc<str>, StorageError> {
    let name = StreamName::of(key).map_err(|error| {
        StorageError::new(ErrorKind::Invalid, "cannot publish under this name").on(key).because(error)
    })?;
    Ok((&*partition_key(&name)).into())
}

/// What is of no one stream is put under this, which is no name of a stream.
const ANYTHING: &str = "*";

/// What a record has besides its key and its data, at most.
const OVERHEAD: usize = 64;

/// The longest partition key that Kinesis takes, in bytes: 256 characters.
const LONGEST_KEY: usize = 1024;

/// Even a lucky draw does not turn waiting into spinning.
const LEAST_WAIT: Duration = Duration::from_millis(10);
