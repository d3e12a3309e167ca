//! Keys and rows of positions.

use std::borrow::Cow;

use tokio_postgres::{Error, Row};

/// Key of a version of a view.
#[derive(Debug, Clone, Copy)]
pub(in crate::view) struct VersionKey<'a> {
    pub(in crate::view) view: &'a str,
    pub(in crate::view) version: i64,
}

/// Columns of a position in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::view) struct PositionRow {
    pub(in crate::view) number: i64,
    pub(in crate::view) zone: i32,
}

impl PositionRow {
    /// Reads the number and the zone that start at `column`.
    pub(super) fn read(row: &Row, column: usize) -> Result<Self, Error> {
        Ok(Self { number: row.try_get(column)?, zone: row.try_get(column + 1)? })
    }

    /// Reads the number and the zone that start at `column`; `None` if they are NULL.
    pub(super) fn read_optional(row: &Row, column: usize) -> Result<Option<Self>, Error> {
        let number: Option<i64> = row.try_get(column)?;
        number.map(|_| Self::read(row, column)).transpose()
    }
}

/// Row of the position of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::view) struct StreamPositionRow {
    /// `None` before the first event.
    pub(in crate::view) position: Option<PositionRow>,
    /// True if the stream is in quarantine.
    pub(in crate::view) quarantined: bool,
}

impl StreamPositionRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { position: PositionRow::read_optional(row, 0)?, quarantined: row.try_get(2)? })
    }
}

/// Position changes by column.
#[derive(Debug, Default)]
pub(in crate::view) struct PositionChangeRows<'a> {
    /// Keys of the streams.
    pub(in crate::view) streams: Vec<Cow<'a, str>>,
    pub(in crate::view) from_numbers: Vec<Option<i64>>,
    pub(in crate::view) from_zones: Vec<Option<i32>>,
    pub(in crate::view) numbers: Vec<i64>,
    pub(in crate::view) zones: Vec<i32>,
}
