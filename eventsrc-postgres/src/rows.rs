//! Conversion between commits and rows.

use std::sync::Arc;

use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::codec::Codec;
use eventsrc_core::stream::Zone;
use eventsrc_core::{
    Commit, CommitId, ErrorKind, Head, Metadata, Sequence, StorageError, StreamKey, Timestamp,
};

use crate::failure::Unreadable;
use crate::layout::{CommitRow, HeadRow, TextOrBytes};

/// Largest size of a commit in bytes. Postgres stores less than 1 GiB in a value, and holds several copies of it in memory
/// while it processes a statement.
const MAX_COMMIT_BYTES: usize = 256 << 20;

/// Encodes `commit` as a row.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if a payload cannot be encoded or stored, the commit is too large, or its last sequence does not
/// fit.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
) -> Result<CommitRow, StorageError> {
    let invalid = |what| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let overflow = || invalid("the commit runs past the last sequence");
    if !commit.fits() {
        return Err(overflow());
    }
    let count = i32::try_from(commit.len()).map_err(|_| invalid("the commit has too many events"))?;
    i64::try_from(commit.last().number()).map_err(|_| overflow())?;
    let id = commit.metadata.commit_id;
    let has_metadata = commit.metadata != Metadata::new(id);
    let metadata = has_metadata
        .then(|| serde_json::to_string(&commit.metadata))
        .transpose()
        .map_err(|error| invalid("cannot encode the metadata").because(error))?;
    let encoded = EncodedPayloads::encode(codec, &commit.payloads)
        .map_err(|error| invalid("cannot encode the payloads").because(error))?;
    let row = CommitRow {
        number: commit.first.number() as i64,
        zone: commit.first.zone().0,
        count,
        time: commit.time.as_microsecond(),
        commit_id: id.0,
        version: encoded.version,
        payloads: TextOrBytes::new(encoded.text, encoded.bytes)
            .map_err(|error| invalid("cannot store the payloads").because(error))?,
        lengths: Some(encoded.lengths).filter(|lengths| !lengths.is_empty()),
        metadata,
    };
    if row.size() > MAX_COMMIT_BYTES { Err(invalid("the commit is larger than 256 MiB")) } else { Ok(row) }
}

/// Decodes the commit in `row`.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`], with the stream and the sequence of the event that cannot be read.
pub(crate) fn decode<K, S, E, C, T, B>(
    row: &CommitRow<T, B>,
    key: &K,
    codec: &C,
) -> Result<Arc<Commit<K, S, E>>, StorageError>
where
    K: StreamKey,
    S: Sequence,
    C: Codec<E>,
    T: AsRef<str>,
    B: AsRef<[u8]>,
{
    let first: S = sequence(key, row.number, row.zone.into())?;
    let corrupt = |what: String| StorageError::new(ErrorKind::Corrupt, what).on(key);
    let version = row.version;
    if row.payloads.is_text() != codec.is_text() {
        let format = if row.payloads.is_text() { "text" } else { "binary" };
        return Err(
            corrupt(format!("cannot read the payload of version {version}: it is {format}")).at(first)
        );
    }
    let payloads = EncodedPayloads::decode(codec, version, row.payloads.as_ref(), row.lengths());
    let payloads = payloads.map_err(|(index, error)| {
        let at = S::from_parts(row.number as u64 + index as u64, Zone(row.zone)).unwrap_or(first);
        corrupt(format!("cannot read the payload of version {version}")).at(at).because(error)
    })?;
    if i32::try_from(payloads.len()) != Ok(row.count) {
        let what =
            format!("cannot read the commit: found {} payloads instead of {}", payloads.len(), row.count);
        return Err(corrupt(what).at(first));
    }
    let metadata = match &row.metadata {
        None => Metadata::new(CommitId(row.commit_id)),
        Some(json) => serde_json::from_str(json.as_ref())
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
    sequence(key, row.last(), row.zone.into())
}

/// Decodes the head of the stream of `key`.
pub(crate) fn head<K: StreamKey, S: Sequence>(key: &K, row: HeadRow) -> Result<Head<S>, StorageError> {
    let sequence = sequence(key, row.number, row.zone)?;
    Ok(Head { sequence, time: time(key, sequence, row.time)? })
}

/// Error of a row that does not have the format of a commit.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: i64, reason: Unreadable) -> StorageError {
    let what = "cannot read the commit: the row does not have the expected format";
    StorageError::new(ErrorKind::Corrupt, what).on(key).at(number.unsigned_abs()).because(reason)
}

fn sequence<K: StreamKey, S: Sequence>(key: &K, number: i64, zone: i32) -> Result<S, StorageError> {
    let parts = u64::try_from(number).ok().zip(u16::try_from(zone).ok());
    parts.and_then(|(number, zone)| S::from_parts(number, Zone(zone))).ok_or_else(|| {
        let what = format!("cannot read the sequence: its type has no number {number} of zone {zone}");
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
