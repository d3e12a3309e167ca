//! Commits as items, and back.

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

/// The longest name of a stream, which is a partition key, in bytes.
const LONGEST_NAME: usize = 2048;

/// The item of `commit`, and its size; payloads of `compress_from` bytes or more are deflated if it helps.
///
/// # Errors
///
/// `Invalid` if a payload cannot be encoded, the commit runs past the last sequence, the key does not name a stream, or the item
/// is larger than the service takes.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
    compress_from: Option<usize>,
) -> Result<(Item, usize), StorageError> {
    let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let stream = storable(&commit.key)?;
    if !commit.fits() {
        return Err(invalid("the commit runs past the last sequence".into()));
    }
    let id = commit.metadata.commit_id;
    let more = commit.metadata != Metadata::new(id);
    let metadata = more
        .then(|| serde_json::to_string(&commit.metadata))
        .transpose()
        .map_err(|error| invalid("cannot encode the metadata".into()).because(error))?;
    let packed = EncodedPayloads::encode(codec, &commit.payloads)
        .map_err(|error| invalid("cannot encode the payloads".into()).because(error))?;
    let item = CommitItem {
        stream: stream.into(),
        number: commit.first.number(),
        zone: commit.first.zone().0,
        commit_id: id.0,
        time: commit.time.as_microsecond(),
        version: packed.version,
        payloads: Payloads::new(packed.text, packed.bytes, compress_from).map_err(|error| {
            invalid("the payloads are no text, as their codec says".into()).because(error)
        })?,
        lengths: packed.lengths,
        metadata,
    };
    let item = item.into_item();
    let size = size(&item);
    if size > LARGEST_ITEM {
        return Err(invalid(format!(
            "the commit takes {size} bytes, and an item of DynamoDB {LARGEST_ITEM} at most: save it in several commits"
        )));
    }
    Ok((item, size))
}

/// The commit of `item`, which lies on the stream of `key`, and the bytes of its payloads.
///
/// # Errors
///
/// `Corrupt`, with the stream and the sequence of the event that cannot be read.
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
        .map_err(|error| corrupt("cannot inflate the payloads".into()).at(first).because(error))?;
    if is_text != codec.is_text() {
        let was = if is_text { "text" } else { "binary" };
        return Err(corrupt(format!("cannot read the payload of version {version}: it is {was}")).at(first));
    }
    let payloads =
        EncodedPayloads::decode(codec, version, &bytes, &item.lengths).map_err(|(place, error)| {
            let at =
                S::from_parts(item.number.saturating_add(place as u64), Zone(item.zone)).unwrap_or(first);
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

/// The head of the stream of `key`, whose last commit lies in `item`.
pub(crate) fn head<K: StreamKey, S: Sequence>(key: &K, item: &HeadItem) -> Result<Head<S>, StorageError> {
    let sequence = sequence(key, item.last, item.zone)?;
    Ok(Head { sequence, time: time(key, sequence, item.time)? })
}

/// The error of an item at `number` that is no commit at all.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: u64, why: Unreadable) -> StorageError {
    let what = "cannot read the commit: what is stored is not what was written";
    StorageError::new(ErrorKind::Corrupt, what).on(key).at(number).because(why)
}

pub(crate) fn sequence<K: StreamKey, S: Sequence>(
    key: &K,
    number: u64,
    zone: u16,
) -> Result<S, StorageError> {
    S::from_parts(number, Zone(zone)).ok_or_else(|| {
        let what = format!("number {number} of zone {zone} is no sequence of the type that is read");
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

/// The name of the stream that `key` names, if it can be stored under it and read back.
fn storable<K: StreamKey>(key: &K) -> Result<StreamName, StorageError> {
    let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).on(key);
    let name =
        StreamName::of(key).map_err(|error| invalid("cannot store under this name".into()).because(error))?;
    let length = name.as_str().len();
    if length > LONGEST_NAME {
        return Err(invalid(format!(
            "the name has {length} bytes, and a key of DynamoDB {LONGEST_NAME} at most"
        )));
    }
    if K::from_parts(name.category(), name.id()).as_ref() == Some(key) {
        return Ok(name);
    }
    Err(invalid("the parts of the key do not give it back".into()))
}
