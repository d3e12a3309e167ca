//! Our own records, which hold changes.

mod array;
mod layout;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::backend::{common_version, truncate_to_microseconds};
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::{Payload, Vec1};
use eventsrc_core::feed::Change;
use eventsrc_core::stream::Zone;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use md5::{Digest, Md5};
use serde::de::DeserializeOwned;

use self::layout::{Read, Unreadable, Written};
use super::aggregated::{AggregatedRecord, NotAggregated};
use super::contract::{Decoded, Decoder, Record};

/// The longest partition key that Kinesis takes, in characters.
const LONGEST_PARTITION_KEY: usize = 256;

/// Writes changes into records of a Kinesis stream, and reads them back, from plain and from aggregated records alike. Cheap to clone.
///
/// They are JSON, so that they can be read in a console and by services in other languages. These are a commit of two events and the
/// two hints, [`Change::Stream`] and [`Change::Anything`]:
///
/// ```json
/// {"eventsrc":1,"change":"commit","stream":"user/42","number":7,"time":"2026-01-01T00:00:00.000001Z",
///  "metadata":{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10"},"events":[{"named":"Ada"},{"moved":"London"}]}
/// {"eventsrc":1,"change":"stream","stream":"user/42"}
/// {"eventsrc":1,"change":"anything"}
/// ```
///
/// `number` is that of the first event. `zone` stands in it where it is not 0, and `version`, that of the payloads, where it is not 1.
/// Payloads are `events` if they are JSON, `texts` if they are other text, and `binaries`, in base64, if they are none. Version 1 may
/// get more fields, and readers pass over those that they do not know.
///
/// A commit is read back as it was put, its time to the microsecond. Services with other types of keys may share the stream: what is
/// of a stream whose name is no key of type `K` is passed over. Of a record that cannot be read, the partition key names the stream.
///
/// ```
/// use eventsrc_core::StreamName;
/// use eventsrc_core::feed::Change;
/// use eventsrc_kinesis::record::{Decoded, Decoder, Record};
/// use eventsrc_kinesis::Envelope;
///
/// let envelope = Envelope::<StreamName, u64, String>::new();
/// let ada: StreamName = "user/1".parse()?;
/// let data = envelope.encode(&Change::Stream(ada.clone()))?;
/// assert_eq!(data, br#"{"eventsrc":1,"change":"stream","stream":"user/1"}"#);
///
/// let mut decoded = Decoded::default();
/// envelope.decode(Record { partition_key: "user/1".into(), data }, 0, &mut decoded);
/// assert!(matches!(&decoded.changes[..], [Change::Stream(key)] if *key == ada));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Envelope<K, S, E, C = Json> {
    codec: Arc<C>,
    /// Reads an array of payloads in one pass, where they are JSON.
    array: Option<fn(&str) -> Option<Vec1<E>>>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E: DeserializeOwned> Envelope<K, S, E> {
    /// Payloads as JSON.
    pub fn new() -> Self {
        Self { array: Some(array::read), ..Self::with_codec(Json) }
    }
}

impl<K, S, E, C> Envelope<K, S, E, C> {
    /// Payloads as `codec` writes them.
    pub fn with_codec(codec: C) -> Self {
        Self { codec: Arc::new(codec), array: None, types: PhantomData }
    }
}

/// What everything of `stream` is put under, so that it stays in order: its name, or a hash of one that is longer than Kinesis takes.
pub fn partition_key(stream: &StreamName) -> Cow<'_, str> {
    let name = stream.as_str();
    if name.encode_utf16().count() <= LONGEST_PARTITION_KEY {
        return name.into();
    }
    // It has no `/`, so nothing takes it for the name of a stream.
    Md5::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Envelope<K, S, E, C> {
    /// The record that says `change`. It belongs under the [`partition_key`] of the stream, if it is of one.
    ///
    /// It may be larger than Kinesis takes. [`Change::Stream`] says of a commit what is needed, in fewer words.
    ///
    /// # Errors
    ///
    /// `Invalid` if a payload cannot be encoded, the commit runs past the last sequence, or the key does not name a stream.
    pub fn encode(&self, change: &Change<K, S, E>) -> Result<Vec<u8>, StorageError> {
        match change {
            Change::Commit(commit) => self.encode_commit(commit),
            Change::Stream(key) => {
                layout::write(&Written::stream(&name(key)?)).map_err(|error| error.on(key))
            }
            Change::Anything => layout::write(&Written::anything()),
        }
    }

    fn encode_commit(&self, commit: &Commit<K, S, E>) -> Result<Vec<u8>, StorageError> {
        let about = |error: StorageError| error.on(&commit.key).at(commit.first);
        if !commit.fits() {
            return Err(about(StorageError::new(
                ErrorKind::Invalid,
                "the commit runs past the last sequence",
            )));
        }
        let stream = name(&commit.key)?;
        let version =
            common_version(&*self.codec, &commit.payloads).map_err(layout::unencodable).map_err(about)?;
        let written = Written::commit(&stream, commit, version);
        layout::write_with(&written, &*self.codec, &commit.payloads).map_err(about)
    }

    fn decode_one(&self, partition_key: &str, data: &[u8], decoded: &mut Decoded<K, S, E>) {
        match self.change(data) {
            Ok(Some(change)) => decoded.changes.push(change),
            Ok(None) => {}
            Err(Unreadable { stream, why }) => {
                decoded.unreadable(stream.or_else(|| partition_key.parse().ok()), why);
            }
        }
    }

    /// `None` if it is of a stream that has no key of type `K`.
    fn change(&self, data: &[u8]) -> Result<Option<Change<K, S, E>>, Unreadable> {
        let text = layout::text(data)?;
        // What is wrong with it is told by the other way.
        self.in_one_pass(text).map_or_else(|| self.part_by_part(text), Ok)
    }

    /// A commit of payloads that are JSON, laid out as it is written here: each payload is looked at once. The inner `None` is that
    /// of [`change`](Self::change).
    fn in_one_pass(&self, text: &str) -> Option<Option<Change<K, S, E>>> {
        let array = self.array?;
        let (head, events) = layout::split(text)?;
        let mut read = layout::read(&head).ok()?;
        read.check_says_commit().ok()?;
        let (category, id) = read.stream().ok()?;
        let Some(key) = K::from_parts(category, id) else { return Some(None) };
        let payloads = Some(events).filter(|_| read.version == 1).and_then(array)?;
        let commit = self.commit(key, &mut read, payloads).ok()?;
        Some(Some(Change::Commit(Arc::new(commit))))
    }

    fn part_by_part(&self, text: &str) -> Result<Option<Change<K, S, E>>, Unreadable> {
        let mut read = layout::read(text)?;
        if read.says_anything() {
            return Ok(Some(Change::Anything));
        }
        let (category, id) = read.stream()?;
        let Some(key) = K::from_parts(category, id) else { return Ok(None) };
        if read.says_stream() {
            return Ok(Some(Change::Stream(key)));
        }
        let commit = read
            .check_says_commit()
            .and_then(|()| read.payloads(&*self.codec))
            .and_then(|payloads| self.commit(key, &mut read, payloads));
        match commit {
            Ok(commit) => Ok(Some(Change::Commit(Arc::new(commit)))),
            Err(why) => Err(Unreadable { stream: read.stream_name(), why }),
        }
    }

    fn commit(&self, key: K, read: &mut Read<'_>, payloads: Vec1<E>) -> Result<Commit<K, S, E>, String> {
        let missing = |name| format!("the commit has no {name}");
        let number = read.number.ok_or_else(|| missing("number"))?;
        let first = S::from_parts(number, Zone(read.zone)).ok_or_else(|| {
            format!("number {number} of zone {} is no sequence of the type that is read", read.zone)
        })?;
        let time = truncate_to_microseconds(read.time.ok_or_else(|| missing("time"))?);
        let metadata = read.metadata.take().ok_or_else(|| missing("metadata"))?;
        let commit = Commit { key, first, time, metadata, payloads };
        if commit.fits() { Ok(commit) } else { Err("the commit runs past the last sequence".into()) }
    }
}

impl<K, S, E, C> Decoder<Record> for Envelope<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    fn decode(&self, record: Record, from: u64, decoded: &mut Decoded<K, S, E>) -> u64 {
        let aggregated = match AggregatedRecord::read(&record.data) {
            Ok(aggregated) => aggregated,
            Err(why) => {
                match why {
                    _ if from > 0 => {}
                    NotAggregated::Plain => self.decode_one(&record.partition_key, &record.data, decoded),
                    // Its parts may have been of any stream.
                    damaged => decoded.unreadable(None, damaged.to_string()),
                }
                return 0;
            }
        };
        let parts = aggregated.parts();
        let last = (parts.len() as u64).saturating_sub(1);
        for part in parts.skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            match part {
                Ok(part) => self.decode_one(part.partition_key, part.data, decoded),
                Err(bad) => decoded.unreadable(None, bad.to_string()),
            }
        }
        last
    }
}

fn name<K: StreamKey>(key: &K) -> Result<StreamName, StorageError> {
    StreamName::of(key).map_err(|error| {
        StorageError::new(ErrorKind::Invalid, "cannot tell of a stream of this name").on(key).because(error)
    })
}

impl<K, S, E: DeserializeOwned> Default for Envelope<K, S, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, S, E, C> Clone for Envelope<K, S, E, C> {
    fn clone(&self) -> Self {
        Self { codec: Arc::clone(&self.codec), array: self.array, types: PhantomData }
    }
}

impl<K, S, E, C: fmt::Debug> fmt::Debug for Envelope<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("codec", &self.codec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
