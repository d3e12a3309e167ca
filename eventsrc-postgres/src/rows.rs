//! Conversion between commits and rows, within the limits of Postgres.

use eventsrc_core::backend::EncodedCommit;
use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, ErrorKind, Head, Sequence, StorageError, StreamKey};

use crate::failure::Unreadable;
use crate::layout::{HeadRow, check_text};

/// Largest size of a commit in bytes. Postgres stores less than 1 GiB in a value, and holds several copies of it in memory
/// while it processes a statement.
const MAX_COMMIT_BYTES: usize = 256 << 20;

/// Encodes `commit`, so that Postgres can store it.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if a payload cannot be encoded or stored, the commit is too large, or its last sequence does not
/// fit.
pub(crate) fn encode<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    commit: &Commit<K, S, E>,
    codec: &C,
) -> Result<EncodedCommit<'static>, StorageError> {
    let invalid = |what| StorageError::new(ErrorKind::Invalid, what).on(&commit.key).at(commit.first);
    let encoded = EncodedCommit::encode(commit, codec)?;
    if i32::try_from(encoded.count).is_err() {
        return Err(invalid("the commit has too many events"));
    }
    if i64::try_from(encoded.last()).is_err() {
        return Err(invalid("the sequence exceeds the largest number that Postgres can store"));
    }
    if encoded.size() > MAX_COMMIT_BYTES {
        return Err(invalid("the commit is larger than 256 MiB"));
    }
    if encoded.text {
        check_text(&encoded.payloads).map_err(|error| invalid("cannot store the payloads").because(error))?;
    }
    Ok(encoded)
}

/// Decodes the head of the stream of `key`.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`], with the stream and the sequence.
pub(crate) fn head<K: StreamKey, S: Sequence>(key: &K, row: HeadRow) -> Result<Head<S>, StorageError> {
    row.encoded().map_err(|reason| unreadable(key, row.number, reason))?.decode(key)
}

/// Error of a row that does not have the format of a commit.
pub(crate) fn unreadable<K: StreamKey>(key: &K, number: i64, reason: Unreadable) -> StorageError {
    let what = "cannot read the commit: the row does not have the expected format";
    StorageError::new(ErrorKind::Corrupt, what).on(key).at(number.unsigned_abs()).because(reason)
}
