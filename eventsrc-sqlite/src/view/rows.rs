//! Positions, quarantine and skips as rows, and back.

use eventsrc_core::view::{Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamName, Timestamp};

use crate::layout::views::{BehindRow, PositionRow, QuarantineRow, SkipRow, StreamPositionRow};
use crate::rows::sequence;

/// The row of a position; `None` past the last one that can be kept.
pub(super) fn row<S: Sequence>(position: S) -> Option<PositionRow> {
    let number = i64::try_from(position.number()).ok()?;
    Some(PositionRow { number, zone: position.zone().0 })
}

/// Refuses a batch that would leave a position past the last one that can be kept.
pub(super) fn check<K, S: Sequence, E>(batch: &Batch<K, S, E>) -> Result<(), StorageError> {
    batch.position_changes().iter().try_for_each(|moved| kept(&moved.stream, moved.to).map(drop))
}

/// Where the streams are.
pub(super) fn positions_of<S: Sequence>(
    streams: &[StreamName],
    rows: &[StreamPositionRow],
) -> Result<Vec<StreamPosition<S>>, StorageError> {
    let place = |(stream, row): (&StreamName, &StreamPositionRow)| {
        let position = optional(stream, row.position)?;
        Ok(StreamPosition { position, quarantined: row.quarantined })
    };
    streams.iter().zip(rows).map(place).collect()
}

/// A stream, and where it is.
pub(super) fn position<S: Sequence>(stream: &str, row: PositionRow) -> Result<(StreamName, S), StorageError> {
    let stream = name(stream)?;
    let position = sequence(&stream, row.number, row.zone)?;
    Ok((stream, position))
}

/// The move by which a stream lies behind.
pub(super) fn behind<S: Sequence>(row: &BehindRow) -> Result<PositionChange<S>, StorageError> {
    let stream = name(&row.stream)?;
    let from = optional(&stream, row.from)?;
    let to = sequence(&stream, row.to.number, row.to.zone)?;
    Ok(PositionChange { stream, from, to })
}

pub(super) fn quarantine_row<S: Sequence>(
    poison: &QuarantinedCommit<S>,
) -> Result<QuarantineRow, StorageError> {
    let stream = &poison.stream;
    Ok(QuarantineRow {
        stream: stream.as_str().to_owned(),
        position: poison.position.map(|position| kept(stream, position)).transpose()?,
        commit: kept(stream, poison.sequence)?,
        error: poison.error.clone(),
        time: poison.time.as_microsecond(),
    })
}

pub(super) fn poison<S: Sequence>(row: QuarantineRow) -> Result<QuarantinedCommit<S>, StorageError> {
    let stream = name(&row.stream)?;
    let position = optional(&stream, row.position)?;
    let sequence = sequence(&stream, row.commit.number, row.commit.zone)?;
    let time = time(&stream, row.time)?;
    Ok(QuarantinedCommit { stream, position, sequence, error: row.error, time })
}

pub(super) fn skip_row<S: Sequence>(skip: &SkippedCommits<S>) -> Result<SkipRow, StorageError> {
    let PositionChange { stream, from, to } = &skip.change;
    Ok(SkipRow {
        stream: stream.as_str().to_owned(),
        from: from.map(|from| kept(stream, from)).transpose()?,
        to: kept(stream, *to)?,
        reason: skip.reason.clone(),
        time: skip.time.as_microsecond(),
    })
}

pub(super) fn skip<S: Sequence>(row: SkipRow) -> Result<SkippedCommits<S>, StorageError> {
    let stream = name(&row.stream)?;
    let from = optional(&stream, row.from)?;
    let to = sequence(&stream, row.to.number, row.to.zone)?;
    let time = time(&stream, row.time)?;
    Ok(SkippedCommits { change: PositionChange { stream, from, to }, reason: row.reason, time })
}

fn kept<S: Sequence>(stream: &StreamName, position: S) -> Result<PositionRow, StorageError> {
    row(position).ok_or_else(|| {
        let what = "the position is past the last one that can be kept";
        StorageError::new(ErrorKind::Invalid, what).on(stream).at(position)
    })
}

fn optional<S: Sequence>(stream: &StreamName, row: Option<PositionRow>) -> Result<Option<S>, StorageError> {
    row.map(|row| sequence(stream, row.number, row.zone)).transpose()
}

fn name(text: &str) -> Result<StreamName, StorageError> {
    text.parse().map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read the name of a stream of the view").because(error)
    })
}

fn time(stream: &StreamName, microseconds: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read the time").on(stream).because(error)
    })
}
