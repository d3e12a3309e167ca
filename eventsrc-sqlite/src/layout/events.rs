//! The tables of streams and commits.
//!
//! A commit is one row: its payloads are encoded as [`EncodedPayloads`] defines, text as text. `position` is the order in
//! which commits were appended to the file as a whole.

use std::ops::ControlFlow;

use eventsrc_core::StreamName;
use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::storage::Segment;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use uuid::Uuid;

use super::text_or_blob::{TextOrBlob, text_or_blob};

/// Creates the tables.
pub(super) const TABLES: &str = "
    CREATE TABLE streams (
        stream INTEGER PRIMARY KEY,
        category TEXT NOT NULL,
        id TEXT NOT NULL,
        UNIQUE (category, id)
    ) STRICT;
    CREATE TABLE commits (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        number INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        count INTEGER NOT NULL,
        time INTEGER NOT NULL,      -- microseconds since 1970
        commit_id BLOB NOT NULL,
        version INTEGER NOT NULL,   -- of the payloads
        payloads ANY NOT NULL,
        lengths BLOB,               -- NULL for one payload
        metadata TEXT,              -- JSON; NULL if it says no more than the commit id
        UNIQUE (stream, number)
    ) STRICT;
";

/// A stored commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow {
    /// Number of the first event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    /// Number of events.
    pub(crate) count: u32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) commit_id: Uuid,
    pub(crate) payloads: EncodedPayloads,
    /// Metadata as JSON. `None` if they hold the commit id only.
    pub(crate) metadata: Option<String>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// Number of the last event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
}

impl HeadRow {
    /// Reads the columns number, zone and time.
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { number: row.get(0)?, zone: row.get(1)?, time: row.get(2)? })
    }
}

/// A statement with the columns of a commit, in the order of [`CommitRow::read`].
macro_rules! with_commit {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " number, zone, count, time, commit_id, version, payloads, lengths, metadata ",
            $after
        )
    };
}

impl CommitRow {
    /// Number of the last event.
    pub(crate) fn last(&self) -> i64 {
        self.number.saturating_add(i64::from(self.count) - 1)
    }

    /// Bytes of payloads and metadata.
    pub(crate) fn size(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, String::len);
        self.payloads.bytes.len() + self.payloads.lengths.len() + metadata
    }

    /// Reads the columns of `with_commit`.
    fn read(row: &Row<'_>) -> Result<Self> {
        let version = row.get(5)?;
        let (text, bytes) = text_or_blob(row, 6)?.unwrap_or_default();
        let lengths = row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default();
        Ok(Self {
            number: row.get(0)?,
            zone: row.get(1)?,
            count: row.get(2)?,
            time: row.get(3)?,
            commit_id: Uuid::from_bytes(row.get(4)?),
            payloads: EncodedPayloads { version, text, bytes, lengths },
            metadata: row.get(8)?,
        })
    }
}

/// Row id of the stream with this name, if it exists.
pub(crate) fn stream(connection: &Connection, name: &StreamName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT stream FROM streams WHERE category = ?1 AND id = ?2")?
        .query_row([name.category(), name.id()], |row| row.get(0))
        .optional()
}

/// Creates the stream with this name, and returns its row id.
pub(crate) fn create_stream(connection: &Connection, name: &StreamName) -> Result<i64> {
    connection
        .prepare_cached("INSERT INTO streams (category, id) VALUES (?1, ?2)")?
        .insert([name.category(), name.id()])
}

/// Head of the stream. `None` if it has no events.
pub(crate) fn head(connection: &Connection, stream: i64) -> Result<Option<HeadRow>> {
    connection
        .prepare_cached(
            "SELECT number + (count - 1), zone, time FROM commits WHERE stream = ?1
             ORDER BY number DESC LIMIT 1",
        )?
        .query_row([stream], HeadRow::read)
        .optional()
}

/// The last commit whose first number is `number` or less.
pub(crate) fn last_commit_up_to(
    connection: &Connection,
    stream: i64,
    number: i64,
) -> Result<Option<CommitRow>> {
    connection
        .prepare_cached(with_commit!(
            "SELECT",
            "FROM commits WHERE stream = ?1 AND number <= ?2 ORDER BY number DESC LIMIT 1"
        ))?
        .query_row([stream, number], CommitRow::read)
        .optional()
}

/// First number of the last commit whose first number is `number` or less.
pub(crate) fn last_start_up_to(connection: &Connection, stream: i64, number: i64) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT max(number) FROM commits WHERE stream = ?1 AND number <= ?2")?
        .query_row([stream, number], |row| row.get(0))
}

/// Appends a commit to a stream.
pub(crate) fn append(connection: &Connection, stream: i64, commit: &CommitRow) -> Result<()> {
    let CommitRow { number, zone, count, time, commit_id, payloads, metadata } = commit;
    connection
        .prepare_cached(with_commit!(
            "INSERT INTO commits (stream,",
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute(params![
            stream,
            number,
            zone,
            count,
            time,
            commit_id.as_bytes(),
            payloads.version,
            TextOrBlob { text: payloads.text, bytes: &payloads.bytes },
            Some(&payloads.lengths).filter(|lengths| !lengths.is_empty()),
            metadata,
        ])
        .map(drop)
}

/// Calls `visit` with each commit of the stream whose first number is greater than `after`, and with that number, in
/// order, until `visit` breaks. Returns true if all commits were visited.
pub(crate) fn visit_stream(
    connection: &Connection,
    stream: i64,
    after: i64,
    mut visit: impl FnMut(i64, Result<CommitRow>) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(with_commit!(
        "SELECT",
        "FROM commits WHERE stream = ?1 AND number > ?2 ORDER BY number"
    ))?;
    let mut rows = statement.query([stream, after])?;
    while let Some(row) = rows.next()? {
        if visit(row.get(0)?, CommitRow::read(row)).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Position of the last commit in the file. 0 if the file has no commits.
pub(crate) fn last_position(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT coalesce(max(position), 0) FROM commits", [], |row| row.get(0))
}

/// A stored commit, with its position in the file and its stream.
pub(crate) struct ScannedRow {
    pub(crate) position: i64,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) number: i64,
    pub(crate) commit: Result<CommitRow>,
}

/// Calls `visit` with each commit of a segment's streams after position `after` and up to position `until`, in the order
/// of the file, until `visit` breaks. Returns true if all commits were visited.
pub(crate) fn visit_segment(
    connection: &Connection,
    segment: Segment,
    after: i64,
    until: i64,
    mut visit: impl FnMut(ScannedRow) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(with_commit!(
        "SELECT",
        ", position, category, streams.id FROM commits CROSS JOIN streams USING (stream)
         WHERE position > ?1 AND position <= ?2 AND stream % ?3 = ?4 ORDER BY position"
    ))?;
    let mut rows = statement.query(params![after, until, segment.total(), segment.index()])?;
    while let Some(row) = rows.next()? {
        let scanned = ScannedRow {
            position: row.get(9)?,
            category: row.get(10)?,
            id: row.get(11)?,
            number: row.get(0)?,
            commit: CommitRow::read(row),
        };
        if visit(scanned).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Row id of the last stream that was created. 0 if there is none.
pub(crate) fn last_stream(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT coalesce(max(stream), 0) FROM streams", [], |row| row.get(0))
}

/// A stream and its head.
pub(crate) struct StreamRow {
    pub(crate) stream: i64,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) head: Result<HeadRow>,
}

/// Calls `visit` with each stream of a segment that has commits, with a row id after `after` and up to `until`, in the
/// order of creation, until `visit` breaks. Returns true if all streams were visited.
pub(crate) fn visit_heads(
    connection: &Connection,
    segment: Segment,
    after: i64,
    until: i64,
    mut visit: impl FnMut(StreamRow) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT number + (count - 1), zone, time, stream, category, streams.id
         FROM streams CROSS JOIN commits USING (stream)
         WHERE stream > ?1 AND stream <= ?2 AND stream % ?3 = ?4
         AND number = (SELECT max(number) FROM commits AS own WHERE own.stream = streams.stream)
         ORDER BY stream",
    )?;
    let mut rows = statement.query(params![after, until, segment.total(), segment.index()])?;
    while let Some(row) = rows.next()? {
        let (stream, category, id) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if visit(StreamRow { stream, category, id, head: HeadRow::read(row) }).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}
