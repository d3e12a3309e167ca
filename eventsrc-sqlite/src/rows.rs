//! Conversion between commits and heads, and their rows.

use std::sync::Arc;

use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::Codec;
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, CommitId, ErrorKind, Head, Metadata, Sequence, StorageError, StreamKey, Timestamp,
};

use crate::failure::Failure;
use crate::layout::{CommitRow, HeadRow};

/// Encodes `commit`.
///
/// # Errors
///
/// `ErrorKind::Invalid` if a payload cannot be encoded, or if the commit runs past the last sequence.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
) -> Result<CommitRow, StorageError> {
    let invalid = |what| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let past = || invalid("the commit runs past the last sequence");
    if !commit.fits() {
        return Err(past());
    }
    let count = u32::try_from(commit.len()).map_err(|_| invalid("the commit has too many events"))?;
    i64::try_from(commit.last().number()).map_err(|_| past())?;
    let id = commit.metadata.commit_id;
    let has_more = commit.metadata != Metadata::new(id);
    let metadata = has_more
        .then(|| serde_json::to_string(&commit.metadata))
        .transpose()
        .map_err(|error| invalid("cannot encode the metadata").because(error))?;
    Ok(CommitRow {
        number: commit.first.number() as i64,
        zone: commit.first.zone().0,
        count,
        time: commit.time.as_microsecond(),
        commit_id: id.0,
        payloads: EncodedPayloads::encode(codec, &commit.payloads)
            .map_err(|error| invalid("cannot encode the payloads").because(error))?,
        metadata,
    })
}

/// Decodes the commit of `row`.
///
/// # Errors
///
/// `ErrorKind::Corrupt`, with the stream and the sequence of the event that cannot be read.
pub(crate) fn decode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    row: &CommitRow,
    key: &K,
    codec: &C,
) -> Result<Arc<Commit<K, S, E>>, StorageError> {
    let first: S = sequence(key, row.number, row.zone)?;
    let corrupt = |what: String| StorageError::new(ErrorKind::Corrupt, what).on(key);
    let EncodedPayloads { version, text, ref bytes, ref lengths } = row.payloads;
    if text != codec.is_text() {
        let was = if text { "text" } else { "binary" };
        return Err(corrupt(format!("cannot read the payload of version {version}: it is {was}")).at(first));
    }
    let payloads = EncodedPayloads::decode(codec, version, bytes, lengths).map_err(|(index, error)| {
        let at = S::from_parts(row.number as u64 + index as u64, Zone(row.zone)).unwrap_or(first);
        corrupt(format!("cannot read the payload of version {version}")).at(at).because(error)
    })?;
    if payloads.len() != row.count as usize {
        let what = format!("the commit has {} payloads, and its count is {}", payloads.len(), row.count);
        return Err(corrupt(what).at(first));
    }
    let metadata = match &row.metadata {
        None => Metadata::new(CommitId(row.commit_id)),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| corrupt("cannot read the metadata".into()).at(first).because(error))?,
    };
    let commit = Commit { key: key.clone(), first, time: time(key, first, row.time)?, metadata, payloads };
    if commit.fits() {
        Ok(Arc::new(commit))
    } else {
        Err(corrupt("the commit runs past the last sequence".into()).at(first))
    }
}

/// Sequence of the last event of a stored commit.
pub(crate) fn last<K: StreamKey, S: Sequence>(key: &K, row: &CommitRow) -> Result<S, StorageError> {
    sequence(key, row.last(), row.zone)
}

/// Head of the stream of `key`.
pub(crate) fn head<K: StreamKey, S: Sequence>(key: &K, row: HeadRow) -> Result<Head<S>, StorageError> {
    let sequence = sequence(key, row.number, row.zone)?;
    Ok(Head { sequence, time: time(key, sequence, row.time)? })
}

/// `key`, with the head of its stream.
pub(crate) fn keyed_head<K: StreamKey, S: Sequence>(
    key: K,
    row: rusqlite::Result<HeadRow>,
) -> Result<(K, Head<S>), StorageError> {
    let row =
        row.map_err(|error| StorageError::from(Failure::new("cannot read the head", error)).on(&key))?;
    let head = head(&key, row)?;
    Ok((key, head))
}

/// Error for a row whose columns cannot be read as a commit.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: i64, error: rusqlite::Error) -> StorageError {
    StorageError::from(Failure::new("cannot read the commit", error)).on(key).at(number.unsigned_abs())
}

/// Sequence with this number and zone in the stream of `key`.
///
/// # Errors
///
/// `ErrorKind::Corrupt` if it is not valid for the sequence type.
pub(crate) fn sequence<K: StreamKey, S: Sequence>(
    key: &K,
    number: i64,
    zone: u16,
) -> Result<S, StorageError> {
    u64::try_from(number).ok().and_then(|number| S::from_parts(number, Zone(zone))).ok_or_else(|| {
        let what = format!("number {number} of zone {zone} is not valid for the sequence type");
        StorageError::new(ErrorKind::Corrupt, what).on(key).at(number.unsigned_abs())
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
