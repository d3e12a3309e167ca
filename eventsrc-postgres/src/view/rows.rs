//! Conversion between rows and positions, quarantines and skips.

use std::borrow::Cow;

use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamName, Timestamp};

use super::layout::{
    BehindRow, PositionChangeRows, PositionRow, QuarantineRow, SkipRow, StreamPositionRow, key,
};

/// Row of a position; `None` if its number exceeds the range of the column.
fn row<S: Sequence>(position: S) -> Option<PositionRow> {
    let number = i64::try_from(position.number()).ok()?;
    Some(PositionRow { number, zone: position.zone().0.into() })
}

/// Rows of the position changes of a batch; `None` if an expected position exceeds the range of the column, which no stored
/// position does.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if a new position exceeds the range of the column.
pub(super) fn changes<K, S: Sequence, E>(
    batch: &Batch<K, S, E>,
) -> Result<Option<PositionChangeRows<'_>>, StorageError> {
    let mut rows = PositionChangeRows::default();
    let mut is_possible = true;
    for PositionChange { stream, from, to } in batch.position_changes() {
        let to = storable_row(stream, *to)?;
        let from = match from.map(row) {
            Some(None) => {
                is_possible = false;
                None
            }
            from => from.flatten(),
        };
        rows.streams.push(key(stream.as_str()));
        rows.from_numbers.push(from.map(|from| from.number));
        rows.from_zones.push(from.map(|from| from.zone));
        rows.numbers.push(to.number);
        rows.zones.push(to.zone);
    }
    Ok(is_possible.then_some(rows))
}

/// Keys of streams.
pub(super) fn keys(streams: &[StreamName]) -> Vec<Cow<'_, str>> {
    streams.iter().map(|stream| key(stream.as_str())).collect()
}

/// Positions of `streams`, of which `rows` are the rows.
pub(super) fn positions_of<S: Sequence>(
    streams: &[StreamName],
    rows: &[StreamPositionRow],
) -> Result<Vec<StreamPosition<S>>, StorageError> {
    let read = |(stream, row): (&StreamName, &StreamPositionRow)| {
        let position = optional(stream, row.position)?;
        Ok(StreamPosition { position, quarantined: row.quarantined })
    };
    streams.iter().zip(rows).map(read).collect()
}

/// Name and position of a stream.
pub(super) fn position<S: Sequence>(stream: &str, row: PositionRow) -> Result<(StreamName, S), StorageError> {
    let stream = name(stream)?;
    let position = sequence(&stream, row)?;
    Ok((stream, position))
}

/// Position change by which a stream is behind.
pub(super) fn behind<S: Sequence>(row: &BehindRow) -> Result<PositionChange<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (from, to) = (optional(&stream, row.from)?, sequence(&stream, row.to)?);
    Ok(PositionChange { stream, from, to })
}

/// Row of a quarantined commit.
pub(super) fn quarantine_row<S: Sequence>(
    entry: &QuarantinedCommit<S>,
) -> Result<QuarantineRow, StorageError> {
    let stream = &entry.stream;
    Ok(QuarantineRow {
        stream: key(stream.as_str()).into_owned(),
        position: entry.position.map(|position| storable_row(stream, position)).transpose()?,
        commit: storable_row(stream, entry.sequence)?,
        error: entry.error.clone(),
        time: entry.time.as_microsecond(),
    })
}

/// Quarantined commit of a row.
pub(super) fn quarantined_commit<S: Sequence>(
    row: QuarantineRow,
) -> Result<QuarantinedCommit<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (position, sequence) = (optional(&stream, row.position)?, sequence(&stream, row.commit)?);
    let time = time(&stream, row.time)?;
    Ok(QuarantinedCommit { stream, position, sequence, error: row.error, time })
}

/// Row of a skip; `None` if its expected position exceeds the range of the column, which no stored position does.
pub(super) fn skip_row<S: Sequence>(skip: &SkippedCommits<S>) -> Result<Option<SkipRow>, StorageError> {
    let PositionChange { stream, from, to } = &skip.change;
    let to = storable_row(stream, *to)?;
    let from = match from.map(row) {
        Some(None) => return Ok(None),
        from => from.flatten(),
    };
    Ok(Some(SkipRow {
        stream: key(stream.as_str()).into_owned(),
        from,
        to,
        reason: skip.reason.clone(),
        time: skip.time.as_microsecond(),
    }))
}

/// Skip of a row.
pub(super) fn skip<S: Sequence>(row: SkipRow) -> Result<SkippedCommits<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (from, to) = (optional(&stream, row.from)?, sequence(&stream, row.to)?);
    let time = time(&stream, row.time)?;
    Ok(SkippedCommits { change: PositionChange { stream, from, to }, reason: row.reason, time })
}

/// Row of a position that is about to be stored.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if its number exceeds the range of the column.
fn storable_row<S: Sequence>(stream: &StreamName, position: S) -> Result<PositionRow, StorageError> {
    row(position).ok_or_else(|| {
        let what = "the position exceeds the largest number that Postgres can store";
        StorageError::new(ErrorKind::Invalid, what).on(stream).at(position)
    })
}

fn optional<S: Sequence>(stream: &StreamName, row: Option<PositionRow>) -> Result<Option<S>, StorageError> {
    row.map(|row| sequence(stream, row)).transpose()
}

fn sequence<S: Sequence>(stream: &StreamName, row: PositionRow) -> Result<S, StorageError> {
    let PositionRow { number, zone } = row;
    let parts = u64::try_from(number).ok().zip(u16::try_from(zone).ok());
    parts.and_then(|(number, zone)| S::from_parts(number, Zone(zone))).ok_or_else(|| {
        let what =
            format!("cannot read the position: its sequence type has no number {number} of zone {zone}");
        StorageError::new(ErrorKind::Corrupt, what).on(stream).at(number.unsigned_abs())
    })
}

fn name(text: &str) -> Result<StreamName, StorageError> {
    text.parse().map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read a stream name of the view").because(error)
    })
}

fn time(stream: &StreamName, microseconds: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "cannot read the time").on(stream).because(error)
    })
}
