//! The tables of streams and commits.
//!
//! A commit is one row: an [`EncodedCommit`], with text as text. `position` is the order in
//! which commits were appended to the file as a whole.

use std::borrow::Cow;
use std::ops::ControlFlow;

use eventsrc_core::StreamName;
use eventsrc_core::backend::{EncodedCommit, EncodedHead};
use eventsrc_core::storage::Segment;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};
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

/// Adds the id of the commit before each commit. A first commit has none, and neither have commits that an earlier
/// version of the library stored.
pub(super) const ADD_PREVIOUS: &str = "ALTER TABLE commits ADD COLUMN previous BLOB;";

/// A statement with the columns of a commit, in the order of [`read_commit`].
macro_rules! with_commit {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " number, zone, count, time, commit_id, version, payloads, lengths, metadata, previous ",
            $after
        )
    };
}

/// Row id of the stream whose category and id are the first two parameters, as an expression of a statement.
///
/// A reader keeps no row id between statements, because the file may be restored to an earlier state between them.
macro_rules! row_of_name {
    () => {
        "(SELECT stream FROM streams WHERE category = ?1 AND id = ?2)"
    };
}

/// Reads the columns of `with_commit`. The texts and bytes are borrowed from the row.
fn read_commit<'a>(row: &'a Row<'_>) -> Result<EncodedCommit<'a>> {
    let (text, payloads) = text_or_blob(row, 6)?.unwrap_or_default();
    Ok(EncodedCommit {
        number: read_number(row, 0)?,
        zone: row.get(1)?,
        count: row.get(2)?,
        time: row.get(3)?,
        commit_id: Uuid::from_bytes(row.get(4)?),
        previous: row.get::<_, Option<[u8; 16]>>(9)?.map(Uuid::from_bytes),
        version: row.get(5)?,
        text,
        payloads: payloads.into(),
        lengths: row.get_ref(7)?.as_blob_or_null()?.unwrap_or_default().into(),
        metadata: row.get_ref(8)?.as_str_or_null()?.map(Cow::from),
    })
}

/// The commit, with texts and bytes of its own.
pub(super) fn into_owned(commit: EncodedCommit<'_>) -> EncodedCommit<'static> {
    let EncodedCommit { number, zone, count, time, commit_id, previous, version, text, .. } = commit;
    EncodedCommit {
        number,
        zone,
        count,
        time,
        commit_id,
        previous,
        version,
        text,
        payloads: commit.payloads.into_owned().into(),
        lengths: commit.lengths.into_owned().into(),
        metadata: commit.metadata.map(|json| json.into_owned().into()),
    }
}

/// Reads the columns number, zone, time and commit id of a head.
fn read_head(row: &Row<'_>) -> Result<EncodedHead> {
    Ok(EncodedHead {
        number: read_number(row, 0)?,
        zone: row.get(1)?,
        time: row.get(2)?,
        commit_id: Uuid::from_bytes(row.get(3)?),
    })
}

fn read_number(row: &Row<'_>, column: usize) -> Result<u64> {
    let number = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

/// True if the columns of a file can hold the numbers of `commit`.
pub(crate) fn fits(commit: &EncodedCommit<'_>) -> bool {
    i64::try_from(commit.last()).is_ok()
}

/// Bound of a query. No column holds a greater number than the largest `i64`.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
pub(crate) fn head(connection: &Connection, stream: i64) -> Result<Option<EncodedHead>> {
    connection
        .prepare_cached(
            "SELECT number + (count - 1), zone, time, commit_id FROM commits WHERE stream = ?1
             ORDER BY number DESC LIMIT 1",
        )?
        .query_row([stream], read_head)
        .optional()
}

/// Heads after each of the last `count` commits of the stream with this name, newest first.
pub(crate) fn recent(connection: &Connection, name: &StreamName, count: usize) -> Result<Vec<EncodedHead>> {
    connection
        .prepare_cached(concat!(
            "SELECT number + (count - 1), zone, time, commit_id FROM commits WHERE stream = ",
            row_of_name!(),
            " ORDER BY number DESC LIMIT ?3"
        ))?
        .query_map((name.category(), name.id(), bound(count as u64)), read_head)?
        .collect()
}

/// The last commit whose first number is `number` or less.
pub(crate) fn last_commit_up_to(
    connection: &Connection,
    stream: i64,
    number: u64,
) -> Result<Option<EncodedCommit<'static>>> {
    connection
        .prepare_cached(with_commit!(
            "SELECT",
            "FROM commits WHERE stream = ?1 AND number <= ?2 ORDER BY number DESC LIMIT 1"
        ))?
        .query_row((stream, bound(number)), |row| read_commit(row).map(into_owned))
        .optional()
}

/// First number of the last commit of the stream with this name whose first number is `number` or less, and `number` if there
/// is none. `None` if there is no such stream.
pub(crate) fn start_up_to(connection: &Connection, name: &StreamName, number: i64) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT max(number) FROM commits
                              WHERE commits.stream = streams.stream AND number <= ?3), ?3)
             FROM streams WHERE category = ?1 AND id = ?2",
        )?
        .query_row((name.category(), name.id(), number), |row| row.get(0))
        .optional()
}

/// Appends a commit to a stream. The commit must [fit](fits).
pub(crate) fn append(connection: &Connection, stream: i64, commit: &EncodedCommit<'_>) -> Result<()> {
    let number = i64::try_from(commit.number).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(with_commit!(
            "INSERT INTO commits (stream,",
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        ))?
        .execute(params![
            stream,
            number,
            commit.zone,
            commit.count,
            commit.time,
            commit.commit_id.as_bytes(),
            commit.version,
            TextOrBlob { text: commit.text, bytes: &commit.payloads },
            Some(&*commit.lengths).filter(|lengths| !lengths.is_empty()),
            commit.metadata.as_deref(),
            commit.previous.as_ref().map(Uuid::as_bytes),
        ])
        .map(drop)
}

/// Calls `visit` with each commit of the stream with this name whose first number is greater than `after`, and with that
/// number, in order, until `visit` breaks. Returns true if all commits were visited.
pub(crate) fn visit_stream(
    connection: &Connection,
    name: &StreamName,
    after: i64,
    mut visit: impl FnMut(i64, Result<EncodedCommit<'_>>) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(concat!(
        with_commit!("SELECT", "FROM commits WHERE stream = "),
        row_of_name!(),
        " AND number > ?3 ORDER BY number"
    ))?;
    let mut rows = statement.query((name.category(), name.id(), after))?;
    while let Some(row) = rows.next()? {
        if visit(row.get(0)?, read_commit(row)).is_break() {
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
pub(crate) struct ScannedRow<'a> {
    pub(crate) position: i64,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) number: i64,
    pub(crate) commit: Result<EncodedCommit<'a>>,
}

/// Calls `visit` with each commit of a segment's streams after position `after` and up to position `until`, in the order
/// of the file, until `visit` breaks. Returns true if all commits were visited.
pub(crate) fn visit_segment(
    connection: &Connection,
    segment: Segment,
    after: i64,
    until: i64,
    mut visit: impl FnMut(ScannedRow<'_>) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(with_commit!(
        "SELECT",
        ", position, category, streams.id FROM commits CROSS JOIN streams USING (stream)
         WHERE position > ?1 AND position <= ?2 AND stream % ?3 = ?4 ORDER BY position"
    ))?;
    let mut rows = statement.query(params![after, until, segment.total(), segment.index()])?;
    while let Some(row) = rows.next()? {
        let scanned = ScannedRow {
            position: row.get(10)?,
            category: row.get(11)?,
            id: row.get(12)?,
            number: row.get(0)?,
            commit: read_commit(row),
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
    pub(crate) head: Result<EncodedHead>,
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
        "SELECT number + (count - 1), zone, time, commit_id, stream, category, streams.id
         FROM streams CROSS JOIN commits USING (stream)
         WHERE stream > ?1 AND stream <= ?2 AND stream % ?3 = ?4
         AND number = (SELECT max(number) FROM commits AS own WHERE own.stream = streams.stream)
         ORDER BY stream",
    )?;
    let mut rows = statement.query(params![after, until, segment.total(), segment.index()])?;
    while let Some(row) = rows.next()? {
        let (stream, category, id) = (row.get(4)?, row.get(5)?, row.get(6)?);
        if visit(StreamRow { stream, category, id, head: read_head(row) }).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}
