//! Encoding of commits as items, and decoding.

use std::sync::Arc;

use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::Codec;
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, CommitId, ErrorKind, Head, Metadata, Sequence, StorageError, StreamKey, StreamName, Timestamp,
};

use crate::cost::{LARGEST_ITEM, size};
use crate::item::{Item, Unreadable};
use crate::layout::{CommitItem, HeadItem};
use crate::payloads::Payloads;

/// Maximum length of the name of a stream, which is a partition key, in bytes.
const LONGEST_NAME: usize = 2048;

/// Encodes `commit`, and returns the item and its size in bytes. Payloads of `compress_from` bytes or more are compressed if
/// that makes them smaller.
///
/// # Errors
///
/// `Invalid` if a payload cannot be encoded, if the commit runs past the last sequence, if the key is not the name of a stream,
/// or if the item exceeds the limit of the service.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
    compress_from: Option<usize>,
) -> Result<(Item, usize), StorageError> {
    let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let stream = stream_name(&commit.key)?;
    if !commit.fits() {
        return Err(invalid("the commit runs past the last sequence".into()));
    }
    let id = commit.metadata.commit_id;
    let has_more = commit.metadata != Metadata::new(id);
    let metadata = has_more
        .then(|| serde_json::to_string(&commit.metadata))
        .transpose()
        .map_err(|error| invalid("cannot encode the metadata".into()).because(error))?;
    let encoded = EncodedPayloads::encode(codec, &commit.payloads)
        .map_err(|error| invalid("cannot encode the payloads".into()).because(error))?;
    let item = CommitItem {
        stream: stream.into(),
        number: commit.first.number(),
        zone: commit.first.zone().0,
        commit_id: id.0,
        time: commit.time.as_microsecond(),
        version: encoded.version,
        payloads: Payloads::new(encoded.text, encoded.bytes, compress_from).map_err(|error| {
            invalid("the codec claims text, but the payloads are not UTF-8".into()).because(error)
        })?,
        lengths: encoded.lengths,
        metadata,
    };
    let item = item.into_item();
    let size = size(&item);
    if size > LARGEST_ITEM {
        return Err(invalid(format!(
            "the commit has {size} bytes, and the limit of a DynamoDB item is {LARGEST_ITEM}: save it in several commits"
        )));
    }
    Ok((item, size))
}

/// Decodes the commit of `item` on the stream of `key`, and returns it with the size of its payloads in bytes.
///
/// # Errors
///
/// `Corrupt` if the item is unreadable, with the stream and the sequence of the unreadable event.
pub(crate) fn decode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    item: CommitItem,
    key: &K,
    codec: &C,
) -> Result<(Arc<Commit<K, S, E>>, usize), StorageError> {
    let first: S = sequence(key, item.number, item.zone)?;
    let corrupt = |what: String| StorageError::new(ErrorKind::Corrupt, what).on(key);
    let version = item.version;
    let (is_text, bytes) = item
        .payloads
        .into_bytes()
        .map_err(|error| corrupt("cannot decompress the payloads".into()).at(first).because(error))?;
    if is_text != codec.is_text() {
        let kind = if is_text { "text" } else { "binary" };
        let what = format!("cannot read the payload of version {version}: it is {kind}, from another codec");
        return Err(corrupt(what).at(first));
    }
    let payloads =
        EncodedPayloads::decode(codec, version, &bytes, &item.lengths).map_err(|(index, error)| {
            let at =
                S::from_parts(item.number.saturating_add(index as u64), Zone(item.zone)).unwrap_or(first);
            corrupt(format!("cannot read the payload of version {version}")).at(at).because(error)
        })?;
    let metadata = match &item.metadata {
        None => Metadata::new(CommitId(item.commit_id)),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| corrupt("cannot read the metadata".into()).at(first).because(error))?,
    };
    let commit = Commit { key: key.clone(), first, time: time(key, first, item.time)?, metadata, payloads };
    if commit.fits() {
        Ok((Arc::new(commit), bytes.len()))
    } else {
        Err(corrupt("the commit runs past the last sequence".into()).at(first))
    }
}

/// Decodes the head of the stream of `key`, whose last commit is `item`.
pub(crate) fn head<K: StreamKey, S: Sequence>(key: &K, item: &HeadItem) -> Result<Head<S>, StorageError> {
    let sequence = sequence(key, item.last, item.zone)?;
    Ok(Head { sequence, time: time(key, sequence, item.time)? })
}

/// Returns the error of an item at `number` with a missing or malformed attribute.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: u64, error: Unreadable) -> StorageError {
    let what = "cannot read the commit: its item is malformed";
    StorageError::new(ErrorKind::Corrupt, what).on(key).at(number).because(error)
}

pub(crate) fn sequence<K: StreamKey, S: Sequence>(
    key: &K,
    number: u64,
    zone: u16,
) -> Result<S, StorageError> {
    S::from_parts(number, Zone(zone)).ok_or_else(|| {
        let what = format!("number {number} of zone {zone} is not a value of the sequence type");
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(number)
    })
}

fn time<K: StreamKey, S: Sequence>(
    key: &K,
    sequence: S,
    microseconds: i64,
) -> Result<Timestamp, StorageError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| {
        let what = "cannot read the time";
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(sequence).because(error)
    })
}

/// Name of the stream of `key`, checked: it fits into a partition key, and it converts back to `key`.
fn stream_name<K: StreamKey>(key: &K) -> Result<StreamName, StorageError> {
    let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).on(key);
    let name = StreamName::of(key)
        .map_err(|error| invalid("the key is not the name of a stream".into()).because(error))?;
    let length = name.as_str().len();
    if length > LONGEST_NAME {
        return Err(invalid(format!(
            "the name of the stream has {length} bytes, and the limit of a DynamoDB key is {LONGEST_NAME}"
        )));
    }
    if K::from_parts(name.category(), name.id()).as_ref() == Some(key) {
        return Ok(name);
    }
    Err(invalid("the key type does not read this key back from its category and id".into()))
}
