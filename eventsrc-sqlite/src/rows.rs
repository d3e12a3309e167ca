//! Conversion of rows to heads and sequences, and errors of rows that cannot be read.

use eventsrc_core::backend::EncodedHead;
use eventsrc_core::stream::Zone;
use eventsrc_core::{ErrorKind, Head, Sequence, StorageError, StreamKey};

use crate::failure::Failure;

/// `key`, with the head of its stream.
pub(crate) fn keyed_head<K: StreamKey, S: Sequence>(
    key: K,
    row: rusqlite::Result<EncodedHead>,
) -> Result<(K, Head<S>), StorageError> {
    let row =
        row.map_err(|error| StorageError::from(Failure::new("cannot read the head", error)).on(&key))?;
    let head = row.decode(&key)?;
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
