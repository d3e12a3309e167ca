//! Conversion between positions, quarantined commits and skips, and their rows.

use eventsrc_core::view::{Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamName, Timestamp};

use crate::layout::views::{BehindRow, PositionRow, QuarantineRow, SkipRow, StreamPositionRow};
use crate::rows::sequence;

/// Row of a position. `None` if its number is greater than a column can hold.
pub(super) fn position_row<S: Sequence>(position: S) -> Option<PositionRow> {
    let number = i64::try_from(position.number()).ok()?;
    Some(PositionRow { number, zone: position.zone().0 })
}

/// Checks that the file can hold all positions that the batch leaves.
///
/// # Errors
///
/// `ErrorKind::Invalid`, with the stream and the position.
pub(super) fn check_positions<K, S: Sequence, E>(batch: &Batch<K, S, E>) -> Result<(), StorageError> {
    let check = |change: &PositionChange<S>| storable_row(&change.stream, change.to).map(drop);
    batch.position_changes().iter().try_for_each(check)
}

/// Positions of `streams`, from their rows in the same order.
pub(super) fn stream_positions<S: Sequence>(
    streams: &[StreamName],
    rows: &[StreamPositionRow],
) -> Result<Vec<StreamPosition<S>>, StorageError> {
    let stream_position = |(stream, row): (&StreamName, &StreamPositionRow)| {
        let position = optional_sequence(stream, row.position)?;
        Ok(StreamPosition { position, quarantined: row.quarantined })
    };
    streams.iter().zip(rows).map(stream_position).collect()
}

/// A stream and its position.
pub(super) fn named_position<S: Sequence>(
    stream: &str,
    row: PositionRow,
) -> Result<(StreamName, S), StorageError> {
    let stream = stream_name(stream)?;
    let position = sequence(&stream, row.number, row.zone)?;
    Ok((stream, position))
}

/// The position change by which a stream is behind.
pub(super) fn position_change<S: Sequence>(row: &BehindRow) -> Result<PositionChange<S>, StorageError> {
    let stream = stream_name(&row.stream)?;
    let from = optional_sequence(&stream, row.from)?;
    let to = sequence(&stream, row.to.number, row.to.zone)?;
    Ok(PositionChange { stream, from, to })
}

/// Row of a quarantined commit.
pub(super) fn quarantine_row<S: Sequence>(
    commit: &QuarantinedCommit<S>,
) -> Result<QuarantineRow, StorageError> {
    let stream = &commit.stream;
    Ok(QuarantineRow {
        stream: stream.as_str().to_owned(),
        position: commit.position.map(|position| storable_row(stream, position)).transpose()?,
        commit: storable_row(stream, commit.sequence)?,
        error: commit.error.clone(),
        time: commit.time.as_microsecond(),
    })
}

/// The quarantined commit of a row.
pub(super) fn quarantined_commit<S: Sequence>(
    row: QuarantineRow,
) -> Result<QuarantinedCommit<S>, StorageError> {
    let stream = stream_name(&row.stream)?;
    let position = optional_sequence(&stream, row.position)?;
    let sequence = sequence(&stream, row.commit.number, row.commit.zone)?;
    let time = timestamp(&stream, row.time)?;
    Ok(QuarantinedCommit { stream, position, sequence, error: row.error, time })
}

/// Row of a skip.
pub(super) fn skip_row<S: Sequence>(skip: &SkippedCommits<S>) -> Result<SkipRow, StorageError> {
    let PositionChange { stream, from, to } = &skip.change;
    Ok(SkipRow {
        stream: stream.as_str().to_owned(),
        from: from.map(|from| storable_row(stream, from)).transpose()?,
        to: storable_row(stream, *to)?,
        reason: skip.reason.clone(),
        time: skip.time.as_microsecond(),
    })
}

/// The skip of a row.
pub(super) fn skipped_commits<S: Sequence>(row: SkipRow) -> Result<SkippedCommits<S>, StorageError> {
    let stream = stream_name(&row.stream)?;
    let from = optional_sequence(&stream, row.from)?;
    let to = sequence(&stream, row.to.number, row.to.zone)?;
    let time = timestamp(&stream, row.time)?;
    Ok(SkippedCommits { change: PositionChange { stream, from, to }, reason: row.reason, time })
}

/// Row of a position that is to be stored.
fn storable_row<S: Sequence>(stream: &StreamName, position: S) -> Result<PositionRow, StorageError> {
    position_row(position).ok_or_else(|| {
        let what = "the position is past the last one that SQLite can store";
        StorageError::new(ErrorKind::Invalid, what).on(stream).at(position)
    })
}

fn optional_sequence<S: Sequence>(
    stream: &StreamName,
    row: Option<PositionRow>,
) -> Result<Option<S>, StorageError> {
    row.map(|row| sequence(stream, row.number, row.zone)).transpose()
}

fn stream_name(text: &str) -> Result<StreamName, StorageError> {
    text.parse().map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read the name of a stream of the view").because(error)
    })
}

fn timestamp(stream: &StreamName, microseconds: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read the time").on(stream).because(error)
    })
}
