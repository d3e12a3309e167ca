//! Envelopes: the JSON records of eventsrc.

mod array;
mod layout;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::backend::{common_version, truncate_to_microseconds};
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::{Payload, Payloads, Vec1};
use eventsrc_core::feed::Change;
use eventsrc_core::stream::Zone;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use md5::{Digest, Md5};
use serde::de::DeserializeOwned;

use self::layout::{ReadEnvelope, Unreadable, WrittenEnvelope};
use super::aggregated::{AggregatedRecord, NotAggregated};
use super::contract::{Decoded, Decoder, Record};

/// Maximum length of a partition key in Kinesis, in characters.
const LONGEST_PARTITION_KEY: usize = 256;

/// Encodes changes as records of a Kinesis stream, and decodes them from plain and aggregated records. Cheap to clone.
///
/// Envelopes are JSON, so that people and services in other languages can read them. The examples are a commit of two events
/// and the two hints, [`Change::Stream`] and [`Change::Anything`]:
///
/// ```json
/// {"eventsrc":1,"change":"commit","stream":"user/42","number":7,"time":"2026-01-01T00:00:00.000001Z",
///  "metadata":{"commit_id":"01020304-0506-7708-890a-0b0c0d0e0f10"},"events":[{"named":"Ada"},{"moved":"London"}]}
/// {"eventsrc":1,"change":"stream","stream":"user/42"}
/// {"eventsrc":1,"change":"anything"}
/// ```
///
/// - `number` is the number of the first event.
/// - `zone` is the zone of the events; it is omitted if it is 0.
/// - `previous` is the id of the commit before this one; it is omitted in the first commit of a stream, and if it is unknown.
/// - `version` is the version of the payloads; it is omitted if it is 1.
/// - `events` has JSON payloads, `texts` other text, and `binaries` binary payloads in base64. A commit has one of the three.
///
/// Version 1 of the envelope may get more fields; readers ignore unknown fields. `previous` is such a field: releases of version
/// 0.1 neither write nor read it.
///
/// A decoded commit equals the encoded one, with its time to the microsecond. Services with other key types may share the
/// Kinesis stream: records of streams that have no key of type `K` are ignored. If a record is unreadable, its partition key
/// tells the stream.
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
    /// Reads an array of JSON payloads in one pass.
    array: Option<fn(&str) -> Option<Vec1<E>>>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E: DeserializeOwned> Envelope<K, S, E> {
    /// Creates an envelope format with JSON payloads.
    pub fn new() -> Self {
        Self { array: Some(array::read), ..Self::with_codec(Json) }
    }
}

impl<K, S, E, C> Envelope<K, S, E, C> {
    /// Creates an envelope format whose payloads `codec` encodes.
    pub fn with_codec(codec: C) -> Self {
        Self { codec: Arc::new(codec), array: None, types: PhantomData }
    }
}

/// Partition key of all records of `stream`, which keeps them in order: the name of the stream, or a hash of a name that is
/// longer than a partition key may be.
pub fn partition_key(stream: &StreamName) -> Cow<'_, str> {
    let name = stream.as_str();
    if name.encode_utf16().count() <= LONGEST_PARTITION_KEY {
        return name.into();
    }
    // The hash has no `/`, so that it is never mistaken for the name of a stream.
    Md5::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Envelope<K, S, E, C> {
    /// Encodes `change` as the data of a record. Put it under the [`partition_key`] of its stream.
    ///
    /// The data may exceed the record limit of Kinesis. In that case, put the smaller hint [`Change::Stream`] in its place.
    ///
    /// # Errors
    ///
    /// `Invalid` if a payload cannot be encoded or would not come back as it is, if the commit runs past the last sequence, or if the key is not the name of a
    /// stream.
    pub fn encode(&self, change: &Change<K, S, E>) -> Result<Vec<u8>, StorageError> {
        match change {
            Change::Commit(commit) => self.encode_commit(commit),
            Change::Stream(key) => {
                layout::write(&WrittenEnvelope::stream(&name(key)?)).map_err(|error| error.on(key))
            }
            Change::Anything => layout::write(&WrittenEnvelope::anything()),
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
        let payloads = commit.payloads.one_each().ok_or_else(|| {
            about(layout::unencodable("an upcaster dropped or split an event of the commit"))
        })?;
        let version =
            common_version(&*self.codec, payloads).map_err(|(_, error)| about(layout::unencodable(error)))?;
        let envelope = WrittenEnvelope::commit(&stream, commit, version);
        layout::write_with(&envelope, &*self.codec, payloads).map_err(about)
    }

    fn decode_one(&self, partition_key: &str, data: &[u8], decoded: &mut Decoded<K, S, E>) {
        match self.change(data) {
            Ok(Some(change)) => decoded.changes.push(change),
            Ok(None) => {}
            Err(Unreadable { stream, reason }) => {
                decoded.unreadable(stream.or_else(|| partition_key.parse().ok()), reason);
            }
        }
    }

    /// Decodes one envelope. Returns `None` if its stream has no key of type `K`.
    fn change(&self, data: &[u8]) -> Result<Option<Change<K, S, E>>, Unreadable> {
        let text = layout::text(data)?;
        // The general decoder reports errors.
        self.decode_in_one_pass(text).map_or_else(|| self.decode_in_general(text), Ok)
    }

    /// Fast path for a commit with JSON payloads in the layout of this crate: it parses each payload once.
    ///
    /// Returns `None` if the envelope needs the general decoder. The inner `None` is that of [`change`](Self::change).
    fn decode_in_one_pass(&self, text: &str) -> Option<Option<Change<K, S, E>>> {
        let array = self.array?;
        let (head, events) = layout::split(text)?;
        let mut envelope = layout::read(&head).ok()?;
        envelope.check_is_commit().ok()?;
        let (category, id) = envelope.stream().ok()?;
        let Some(key) = K::from_parts(category, id) else { return Some(None) };
        let payloads = Some(events).filter(|_| envelope.version == 1).and_then(array)?.into();
        let commit = self.commit(key, &mut envelope, payloads).ok()?;
        Some(Some(Change::Commit(Arc::new(commit))))
    }

    fn decode_in_general(&self, text: &str) -> Result<Option<Change<K, S, E>>, Unreadable> {
        let mut envelope = layout::read(text)?;
        if envelope.is_anything() {
            return Ok(Some(Change::Anything));
        }
        let (category, id) = envelope.stream()?;
        let Some(key) = K::from_parts(category, id) else { return Ok(None) };
        if envelope.is_stream() {
            return Ok(Some(Change::Stream(key)));
        }
        let commit = envelope
            .check_is_commit()
            .and_then(|()| envelope.payloads(&*self.codec))
            .and_then(|payloads| self.commit(key, &mut envelope, payloads));
        match commit {
            Ok(commit) => Ok(Some(Change::Commit(Arc::new(commit)))),
            Err(reason) => Err(Unreadable { stream: envelope.stream_name(), reason }),
        }
    }

    fn commit(
        &self,
        key: K,
        envelope: &mut ReadEnvelope<'_>,
        payloads: Payloads<E>,
    ) -> Result<Commit<K, S, E>, String> {
        let missing = |name| format!("the commit has no {name}");
        let (number, zone) = (envelope.number.ok_or_else(|| missing("number"))?, envelope.zone);
        let first = S::from_parts(number, Zone(zone))
            .ok_or_else(|| format!("number {number} of zone {zone} is not a value of the sequence type"))?;
        let time = truncate_to_microseconds(envelope.time.ok_or_else(|| missing("time"))?);
        let metadata = envelope.metadata.take().ok_or_else(|| missing("metadata"))?;
        let commit = Commit { key, first, previous: envelope.previous, time, metadata, payloads };
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
            Err(error) => {
                match error {
                    _ if from > 0 => {}
                    NotAggregated::Plain => self.decode_one(&record.partition_key, &record.data, decoded),
                    // The parts may belong to any stream.
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
                Err(error) => decoded.unreadable(None, error.to_string()),
            }
        }
        last
    }
}

fn name<K: StreamKey>(key: &K) -> Result<StreamName, StorageError> {
    StreamName::of(key).map_err(|error| {
        let what = "cannot encode the change: the key is not the name of a stream";
        StorageError::new(ErrorKind::Invalid, what).on(key).because(error)
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
