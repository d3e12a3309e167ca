//! Positions, quarantine and skips as rows, and back.

use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Batch, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamName, Timestamp};

use super::layout::{BehindRow, PositionChangeRows, PositionRow, QuarantineRow, SkipRow, StreamPositionRow};

/// The row of a position; `None` past the last one that can be kept.
fn row<S: Sequence>(position: S) -> Option<PositionRow> {
    let number = i64::try_from(position.number()).ok()?;
    Some(PositionRow { number, zone: position.zone().0.into() })
}

/// How a batch moves its streams; `None` if one of them begins past the last position that can be kept, where none is.
///
/// # Errors
///
/// `Invalid` for a batch that would leave a position past the last one that can be kept.
pub(super) fn moves<K, S: Sequence, E>(
    batch: &Batch<K, S, E>,
) -> Result<Option<PositionChangeRows<'_>>, StorageError> {
    let mut rows = PositionChangeRows::default();
    let mut is_possible = true;
    for PositionChange { stream, from, to } in batch.position_changes() {
        let to = kept(stream, *to)?;
        let from = match from.map(row) {
            Some(None) => {
                is_possible = false;
                None
            }
            from => from.flatten(),
        };
        rows.streams.push(stream.as_str());
        rows.from_numbers.push(from.map(|from| from.number));
        rows.from_zones.push(from.map(|from| from.zone));
        rows.numbers.push(to.number);
        rows.zones.push(to.zone);
    }
    Ok(is_possible.then_some(rows))
}

/// The names of streams as texts.
pub(super) fn names(streams: &[StreamName]) -> Vec<&str> {
    streams.iter().map(StreamName::as_str).collect()
}

/// Where the streams are.
pub(super) fn positions_of<S: Sequence>(
    streams: &[StreamName],
    rows: &[StreamPositionRow],
) -> Result<Vec<StreamPosition<S>>, StorageError> {
    let place = |(stream, row): (&StreamName, &StreamPositionRow)| {
        let position = optional(stream, row.position)?;
        Ok(StreamPosition { position, quarantined: row.stopped })
    };
    streams.iter().zip(rows).map(place).collect()
}

/// A stream, and where it is.
pub(super) fn position<S: Sequence>(stream: &str, row: PositionRow) -> Result<(StreamName, S), StorageError> {
    let stream = name(stream)?;
    let position = sequence(&stream, row)?;
    Ok((stream, position))
}

/// The move by which a stream lies behind.
pub(super) fn behind<S: Sequence>(row: &BehindRow) -> Result<PositionChange<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (from, to) = (optional(&stream, row.from)?, sequence(&stream, row.to)?);
    Ok(PositionChange { stream, from, to })
}

/// The row of a quarantine.
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

/// The quarantine of a row.
pub(super) fn poison<S: Sequence>(row: QuarantineRow) -> Result<QuarantinedCommit<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (position, sequence) = (optional(&stream, row.position)?, sequence(&stream, row.commit)?);
    let time = time(&stream, row.time)?;
    Ok(QuarantinedCommit { stream, position, sequence, error: row.error, time })
}

/// The row of a decision to skip; `None` if it begins past the last position that can be kept, where no stream is.
pub(super) fn skip_row<S: Sequence>(skip: &SkippedCommits<S>) -> Result<Option<SkipRow>, StorageError> {
    let PositionChange { stream, from, to } = &skip.change;
    let to = kept(stream, *to)?;
    let from = match from.map(row) {
        Some(None) => return Ok(None),
        from => from.flatten(),
    };
    Ok(Some(SkipRow {
        stream: stream.as_str().to_owned(),
        from,
        to,
        reason: skip.reason.clone(),
        time: skip.time.as_microsecond(),
    }))
}

/// The decision of a row.
pub(super) fn skip<S: Sequence>(row: SkipRow) -> Result<SkippedCommits<S>, StorageError> {
    let stream = name(&row.stream)?;
    let (from, to) = (optional(&stream, row.from)?, sequence(&stream, row.to)?);
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
    row.map(|row| sequence(stream, row)).transpose()
}

fn sequence<S: Sequence>(stream: &StreamName, row: PositionRow) -> Result<S, StorageError> {
    let PositionRow { number, zone } = row;
    let parts = u64::try_from(number).ok().zip(u16::try_from(zone).ok());
    parts.and_then(|(number, zone)| S::from_parts(number, Zone(zone))).ok_or_else(|| {
        let what = format!("number {number} of zone {zone} is no sequence of the type that is read");
        StorageError::new(ErrorKind::Corrupt, what).on(stream).at(number.unsigned_abs())
    })
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
