//! Encoding of commits as items, and decoding.

use std::sync::Arc;

use eventsrc_core::backend::{EncodedCommit, EncodedHead, storable_name};
use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey, StreamName};

use crate::cost::{LARGEST_ITEM, size};
use crate::item::{Item, Unreadable};
use crate::layout::CommitItem;
use crate::payloads::Payloads;

/// Maximum length of the name of a stream, which is a partition key, in bytes.
const LONGEST_NAME: usize = 2048;

/// Commit that is ready to be put.
pub(crate) struct StorableCommit {
    pub(crate) stream: StreamName,
    /// Head of the stream after the put.
    pub(crate) head: EncodedHead,
    pub(crate) item: Item,
    /// Size of the item.
    pub(crate) bytes: usize,
}

/// Encodes `commit`. Payloads of `compress_from` bytes or more are compressed if that makes them smaller.
///
/// # Errors
///
/// `Invalid` if a payload cannot be encoded, if the commit cannot be stored (see [`storable_name`]), or if the stream name or
/// the item exceeds a limit of the service.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
    compress_from: Option<usize>,
) -> Result<StorableCommit, StorageError> {
    let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let stream = storable_name(commit)?;
    let length = stream.as_str().len();
    if length > LONGEST_NAME {
        return Err(invalid(format!(
            "the stream name has {length} bytes, and the limit of a DynamoDB key is {LONGEST_NAME}"
        )));
    }
    let encoded = EncodedCommit::encode(commit, codec)?;
    let head = encoded.head();
    let EncodedCommit { number, zone, time, commit_id, previous, version, text, payloads, lengths, .. } =
        encoded;
    let item = CommitItem {
        stream: stream.as_str().to_owned(),
        number,
        zone,
        commit_id,
        previous,
        time,
        version,
        payloads: Payloads::new(text, payloads.into_owned(), compress_from).map_err(|error| {
            invalid("the codec claims text, but the payloads are not UTF-8".into()).because(error)
        })?,
        lengths: lengths.into_owned(),
        metadata: encoded.metadata.map(Into::into),
    };
    let item = item.into_item();
    let bytes = size(&item);
    if bytes > LARGEST_ITEM {
        return Err(invalid(format!(
            "the commit has {bytes} bytes, and the limit of a DynamoDB item is {LARGEST_ITEM}: save it in several commits"
        )));
    }
    Ok(StorableCommit { stream, head, item, bytes })
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
    let count = item.count();
    let CommitItem { number, zone, commit_id, previous, time, version, payloads, lengths, metadata, .. } =
        item;
    let (text, payloads) = payloads.into_bytes().map_err(|error| {
        let what = "cannot decompress the payloads";
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(number).because(error)
    })?;
    let encoded = EncodedCommit {
        number,
        zone,
        count,
        time,
        commit_id,
        previous,
        version,
        text,
        payloads: payloads.into(),
        lengths: lengths.into(),
        metadata: metadata.map(Into::into),
    };
    Ok((encoded.decode(key, codec)?, encoded.payloads.len()))
}

/// Returns the error of an item at `number` with a missing or malformed attribute.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: u64, error: Unreadable) -> StorageError {
    let what = "cannot read the commit: its item is malformed";
    StorageError::new(ErrorKind::Corrupt, what).on(key).at(number).because(error)
}
