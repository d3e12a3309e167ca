//! Form in which a backend stores a commit: numbers, ids and bytes, without the types of the application.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::error::{Diverged, ErrorKind, StorageError};
use crate::codec::Codec;
use crate::codec::encoded_payloads::EncodedPayloads;
use crate::commit::{Commit, CommitId, Head, Metadata};
use crate::stream::{Sequence, StreamKey, StreamName, Zone};

/// Encoded commit, for a backend to store. The texts and bytes may be borrowed from a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedCommit<'a> {
    /// Number of the first event.
    pub number: u64,
    /// Zone of the events.
    pub zone: u16,
    /// Number of events.
    pub count: u32,
    /// Time of the commit, in microseconds since 1970.
    pub time: i64,
    /// Commit id.
    pub commit_id: Uuid,
    /// Id of the commit before this one, if it is known.
    pub previous: Option<Uuid>,
    /// Version of the payloads.
    pub version: u32,
    /// True if `payloads` is UTF-8 text.
    pub text: bool,
    /// Payloads, as [`EncodedPayloads`] joins them.
    pub payloads: Cow<'a, [u8]>,
    /// Encoded lengths of the payloads; empty for one payload.
    pub lengths: Cow<'a, [u8]>,
    /// Metadata as JSON; `None` if it has only the commit id.
    pub metadata: Option<Cow<'a, str>>,
}

/// Encoded head, as a backend reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedHead {
    /// Number of the last event.
    pub number: u64,
    /// Zone of the last event.
    pub zone: u16,
    /// Time of the commit that ends there, in microseconds since 1970.
    pub time: i64,
    /// Id of that commit.
    pub commit_id: Uuid,
}

impl EncodedCommit<'static> {
    /// Encodes `commit`, whose payloads `codec` encodes.
    ///
    /// # Errors
    ///
    /// `Invalid` if the commit cannot be stored (see [`storable_name`]), or, with the sequence of the event, if a payload
    /// cannot be encoded or would not come back as it is.
    pub fn encode<K: StreamKey, S: Sequence, E, C: Codec<E> + ?Sized>(
        commit: &Commit<K, S, E>,
        codec: &C,
    ) -> Result<Self, StorageError> {
        let invalid = |what| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
        let count = u32::try_from(commit.len()).map_err(|_| invalid("the commit has too many events"))?;
        let id = commit.metadata.commit_id;
        let has_more = commit.metadata != Metadata::new(id);
        let metadata = has_more
            .then(|| serde_json::to_string(&commit.metadata))
            .transpose()
            .map_err(|error| invalid("cannot encode the metadata").because(error))?;
        let EncodedPayloads { version, text, bytes, lengths } =
            EncodedPayloads::encode(codec, one_each(commit)?).map_err(|(index, error)| {
                let number = commit.first.number().saturating_add(index as u64);
                let at = S::from_parts(number, commit.first.zone()).unwrap_or(commit.first);
                invalid("cannot encode the payload").at(at).because(error)
            })?;
        Ok(Self {
            number: commit.first.number(),
            zone: commit.first.zone().0,
            count,
            time: commit.time.as_microsecond(),
            commit_id: id.0,
            previous: commit.previous.map(|id| id.0),
            version,
            text,
            payloads: bytes.into(),
            lengths: lengths.into(),
            metadata: metadata.map(Cow::from),
        })
    }
}

impl EncodedCommit<'_> {
    /// Returns the number of the last event.
    pub fn last(&self) -> u64 {
        self.number.saturating_add(u64::from(self.count).saturating_sub(1))
    }

    /// Returns the size of payloads, lengths and metadata, in bytes.
    pub fn size(&self) -> usize {
        self.payloads.len() + self.lengths.len() + self.metadata.as_ref().map_or(0, |text| text.len())
    }

    /// Returns the head of a stream that ends with this commit.
    pub fn head(&self) -> EncodedHead {
        EncodedHead { number: self.last(), zone: self.zone, time: self.time, commit_id: self.commit_id }
    }

    /// True if both have the same commit id at the same sequence: one is a repeated put of the other.
    pub fn is(&self, other: &EncodedCommit<'_>) -> bool {
        (self.number, self.zone, self.commit_id) == (other.number, other.zone, other.commit_id)
    }

    /// Decodes the commit, which is on the stream of `key`.
    ///
    /// # Errors
    ///
    /// `Corrupt`, with the stream and the sequence of the event that cannot be read; `Unsupported` if a newer
    /// process wrote it, in a kind or version that `codec` does not know.
    pub fn decode<K: StreamKey, S: Sequence, E, C: Codec<E> + ?Sized>(
        &self,
        key: &K,
        codec: &C,
    ) -> Result<Arc<Commit<K, S, E>>, StorageError> {
        let first: S = decode_sequence(key, self.number, self.zone)?;
        let corrupt = |what: String| StorageError::new(ErrorKind::Corrupt, what).on(key);
        let version = self.version;
        if self.text != codec.is_text() {
            let kind = if self.text { "text" } else { "binary" };
            let what =
                format!("cannot read the payload of version {version}: it is {kind}, from another codec");
            return Err(corrupt(what).at(first));
        }
        let payloads = EncodedPayloads::decode(codec, version, &self.payloads, &self.lengths);
        let payloads = payloads.map_err(|(index, error)| {
            let number = self.number.saturating_add(index as u64);
            let at = S::from_parts(number, Zone(self.zone)).unwrap_or(first);
            let kind = if error.is_too_new() { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
            let what = format!("cannot read the payload of version {version}");
            StorageError::new(kind, what).on(key).at(at).because(error)
        })?;
        if payloads.event_count() != self.count as usize {
            let what = format!(
                "the commit has {} payloads, and its count is {}",
                payloads.event_count(),
                self.count
            );
            return Err(corrupt(what).at(first));
        }
        let metadata = match &self.metadata {
            None => Metadata::new(CommitId(self.commit_id)),
            Some(json) => serde_json::from_str(json)
                .map_err(|error| corrupt("cannot read the metadata".into()).at(first).because(error))?,
        };
        let time = decode_time(key, first, self.time)?;
        let previous = self.previous.map(CommitId);
        let commit = Commit { key: key.clone(), first, previous, time, metadata, payloads };
        if commit.fits() {
            Ok(Arc::new(commit))
        } else {
            Err(corrupt("the commit runs past the last sequence".into()).at(first))
        }
    }

    /// Decodes the sequence of the last event of the commit, which is on the stream of `key`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the sequence type has no such sequence.
    pub fn decode_last<K: StreamKey, S: Sequence>(&self, key: &K) -> Result<S, StorageError> {
        decode_sequence(key, self.last(), self.zone)
    }
}

impl EncodedHead {
    /// Decodes the head of the stream of `key`.
    ///
    /// # Errors
    ///
    /// `Corrupt`, with the stream and the sequence.
    pub fn decode<K: StreamKey, S: Sequence>(&self, key: &K) -> Result<Head<S>, StorageError> {
        let sequence = decode_sequence(key, self.number, self.zone)?;
        let time = decode_time(key, sequence, self.time)?;
        Ok(Head { sequence, time, commit_id: Some(CommitId(self.commit_id)) })
    }
}

/// Returns the name of the stream of `commit`, if the commit can be stored at all. A backend calls it before it puts.
///
/// # Errors
///
/// `Invalid` if the stream name is malformed or does not convert back to an equal key, if the type `S` lacks a sequence
/// for one of the events, if the time has no microseconds, if an event has no payload or several, or if the first commit of a stream names a previous one or has a
/// stream name that is longer than [`StreamName::LONGEST`].
pub fn storable_name<K: StreamKey, S: Sequence, E>(
    commit: &Commit<K, S, E>,
) -> Result<StreamName, StorageError> {
    let key = &commit.key;
    let invalid = |what| StorageError::new(ErrorKind::Invalid, what).on(key).at(commit.first);
    let name =
        StreamName::of(key).map_err(|error| invalid("the key is not a valid stream name").because(error))?;
    if K::from_parts(name.category(), name.id()).as_ref() != Some(key) {
        return Err(invalid("the key differs from the one made of its category and id"));
    }
    if !commit.fits() {
        return Err(invalid("the sequence type has no sequence for each event of the commit"));
    }
    if commit.first.number() == 1 && commit.previous.is_some() {
        return Err(invalid("the first commit of a stream names a previous one"));
    }
    if let Err(error) = Timestamp::from_microsecond(commit.time.as_microsecond()) {
        return Err(invalid("the time cannot be stored").because(error));
    }
    one_each(commit)?;
    check_name_length(commit, &name)?;
    Ok(name)
}

/// Returns the payloads of `commit`, if each event has one.
fn one_each<K: StreamKey, S: Sequence, E>(commit: &Commit<K, S, E>) -> Result<&[E], StorageError> {
    commit.payloads.one_each().ok_or_else(|| {
        let what =
            "an upcaster dropped or split an event of the commit; to copy commits, read them with `RawCodec`";
        StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first)
    })
}

/// Checks that a commit creates no stream with a name that is too long. A stream that exists may go on.
fn check_name_length<K: StreamKey, S: Sequence, E>(
    commit: &Commit<K, S, E>,
    name: &StreamName,
) -> Result<(), StorageError> {
    let length = name.as_str().len();
    if commit.first.number() > 1 || length <= StreamName::LONGEST {
        return Ok(());
    }
    let what = format!("the stream name has {length} bytes, and the limit is {}", StreamName::LONGEST);
    Err(StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first))
}

/// Checks that `commit` directly follows the end of its stream, `head`. A backend calls it for a put at a sequence after
/// `head`.
///
/// # Errors
///
/// `Diverged` if the commit is not at the next sequence, or if its previous commit is another one.
pub fn check_follows<K: StreamKey, S: Sequence, E>(
    commit: &Commit<K, S, E>,
    head: Option<&Head<S>>,
) -> Result<(), StorageError> {
    let known = commit.first.number() - 1;
    let is_next = known == head.map_or(0, |head| head.sequence.number());
    let ids = commit.previous.zip(head.and_then(|head| head.commit_id));
    if is_next && ids.is_none_or(|(previous, last)| previous == last) {
        return Ok(());
    }
    let sequence = S::from_parts(known, commit.first.zone()).unwrap_or(commit.first);
    Err(Diverged::error(&commit.key, (sequence, commit.previous), head))
}

fn decode_sequence<K: StreamKey, S: Sequence>(key: &K, number: u64, zone: u16) -> Result<S, StorageError> {
    S::from_parts(number, Zone(zone)).ok_or_else(|| {
        let what = format!("number {number} of zone {zone} is not a value of the sequence type");
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(number)
    })
}

fn decode_time<K: StreamKey, S: Sequence>(
    key: &K,
    sequence: S,
    microseconds: i64,
) -> Result<Timestamp, StorageError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| {
        let what = "cannot read the time";
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(sequence).because(error)
    })
}
