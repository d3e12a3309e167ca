//! The tables of a file. This file and `views` alone know their names and the SQL.
//!
//! A commit is one row: its payloads are packed as [`EncodedPayloads`] defines it, text as text, so that a file can be read
//! with the `sqlite3` shell. `position` is the order in which commits were appended to the file as a whole.

pub(crate) mod views;

use std::ops::ControlFlow;

use eventsrc_core::StreamName;
use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::storage::Segment;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params};
use uuid::Uuid;

/// Marks a file as ours: `evsr`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"evsr");

/// Each brings a file from one version to the next; the first makes it from nothing.
const MIGRATIONS: [&str; 2] = [EVENTS_AND_SNAPSHOTS, views::TABLES];

const EVENTS_AND_SNAPSHOTS: &str = "
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
    CREATE TABLE snapshots (
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        fold_version INTEGER NOT NULL,
        epoch INTEGER NOT NULL,     -- 0 for the cached one
        number INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        time INTEGER NOT NULL,
        version INTEGER NOT NULL,   -- of the value
        value ANY,                  -- NULL for a deleted value
        PRIMARY KEY (name, key, fold_version, epoch, number, zone)
    ) STRICT, WITHOUT ROWID;
";

/// The version that this library writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Whether a table is one of ours, which a user's code must not change.
pub(crate) fn is_ours(table: &str) -> bool {
    OURS.contains(&table)
}

const OURS: [&str; 7] =
    ["streams", "commits", "snapshots", "view_versions", "view_positions", "view_quarantine", "view_skips"];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It has no tables yet.
    Empty,
    /// It is ours, at this version.
    Ours(i64),
    /// It is an SQLite file of another program.
    Foreign,
}

/// What the file is; the caller holds a transaction.
pub(crate) fn identity(connection: &Connection) -> Result<Identity> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == i64::from(APPLICATION_ID) && version > 0 {
        return Ok(Identity::Ours(version));
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if (application, version, tables) == (0, 0, 0) { Identity::Empty } else { Identity::Foreign })
}

/// Brings a file from `version` (0: nothing) to [`VERSION`]; the caller holds a transaction.
pub(crate) fn migrate(connection: &Connection, version: i64) -> Result<()> {
    for migration in &MIGRATIONS[version as usize..] {
        connection.execute_batch(migration)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// A stored commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow {
    /// The number of its first event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    /// How many events it has.
    pub(crate) count: u32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) commit_id: Uuid,
    pub(crate) payloads: EncodedPayloads,
    /// JSON, where it says more than the commit id.
    pub(crate) metadata: Option<String>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// The number of the last event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
}

impl HeadRow {
    /// Reads a number, a zone and a time.
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
    /// The number of its last event.
    pub(crate) fn last(&self) -> i64 {
        self.number.saturating_add(i64::from(self.count) - 1)
    }

    /// How much it takes up.
    pub(crate) fn size(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, String::len);
        self.payloads.bytes.len() + self.payloads.lengths.len() + metadata
    }

    /// Reads the columns of `with_commit`.
    fn read(row: &Row<'_>) -> Result<Self> {
        let version = row.get(5)?;
        let (text, bytes) = bytes(row, 6)?.unwrap_or_default();
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

/// The stream of this name, if there is one.
pub(crate) fn stream(connection: &Connection, name: &StreamName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT stream FROM streams WHERE category = ?1 AND id = ?2")?
        .query_row([name.category(), name.id()], |row| row.get(0))
        .optional()
}

/// Makes the stream of this name.
pub(crate) fn create_stream(connection: &Connection, name: &StreamName) -> Result<i64> {
    connection
        .prepare_cached("INSERT INTO streams (category, id) VALUES (?1, ?2)")?
        .insert([name.category(), name.id()])
}

/// Where the stream ends; `None` if it has no events.
pub(crate) fn head(connection: &Connection, stream: i64) -> Result<Option<HeadRow>> {
    connection
        .prepare_cached(
            "SELECT number + (count - 1), zone, time FROM commits WHERE stream = ?1
             ORDER BY number DESC LIMIT 1",
        )?
        .query_row([stream], HeadRow::read)
        .optional()
}

/// The last commit that begins at `number` or before it.
pub(crate) fn commit_up_to(connection: &Connection, stream: i64, number: i64) -> Result<Option<CommitRow>> {
    connection
        .prepare_cached(with_commit!(
            "SELECT",
            "FROM commits WHERE stream = ?1 AND number <= ?2 ORDER BY number DESC LIMIT 1"
        ))?
        .query_row([stream, number], CommitRow::read)
        .optional()
}

/// Where the last commit begins that begins at `number` or before it.
pub(crate) fn begin_up_to(connection: &Connection, stream: i64, number: i64) -> Result<Option<i64>> {
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
            Bytes { text: payloads.text, bytes: &payloads.bytes },
            Some(&payloads.lengths).filter(|lengths| !lengths.is_empty()),
            metadata,
        ])
        .map(drop)
}

/// Shows `visit` the commits of the stream that begin after the number `after`, in order and each with its number, until it breaks
/// off. Returns whether it saw all.
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

/// The position of the last commit in the file, 0 if there is none.
pub(crate) fn last_position(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT coalesce(max(position), 0) FROM commits", [], |row| row.get(0))
}

/// A stored commit, in the order of the file.
pub(crate) struct PlacedRow {
    pub(crate) position: i64,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) number: i64,
    pub(crate) commit: Result<CommitRow>,
}

/// Shows `visit` the commits of a segment's streams in the order of the file, after position `after` and up to `until`,
/// until it breaks off. Returns whether it saw all.
pub(crate) fn visit_segment(
    connection: &Connection,
    segment: Segment,
    after: i64,
    until: i64,
    mut visit: impl FnMut(PlacedRow) -> ControlFlow<()>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(with_commit!(
        "SELECT",
        ", position, category, streams.id FROM commits CROSS JOIN streams USING (stream)
         WHERE position > ?1 AND position <= ?2 AND stream % ?3 = ?4 ORDER BY position"
    ))?;
    let mut rows = statement.query(params![after, until, segment.total(), segment.index()])?;
    while let Some(row) = rows.next()? {
        let placed = PlacedRow {
            position: row.get(9)?,
            category: row.get(10)?,
            id: row.get(11)?,
            number: row.get(0)?,
            commit: CommitRow::read(row),
        };
        if visit(placed).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number that the last stream was given, 0 if there is none.
pub(crate) fn last_stream(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT coalesce(max(stream), 0) FROM streams", [], |row| row.get(0))
}

/// A stream and its end.
pub(crate) struct StreamRow {
    pub(crate) stream: i64,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) head: Result<HeadRow>,
}

/// Shows `visit` the streams of a segment that have commits, in the order in which they were made, after stream `after` and up
/// to `until`, until it breaks off. Returns whether it saw all.
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

/// Under what snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotKey {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) fold_version: u32,
}

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    pub(crate) number: i64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
    /// Of the value.
    pub(crate) version: u32,
    /// Whether it is text, and the value; `None` for a deleted one.
    pub(crate) value: Option<(bool, Vec<u8>)>,
}

/// Keeps a snapshot beside all others.
pub(crate) fn put_epoch(connection: &Connection, at: &SnapshotKey, snapshot: &SnapshotRow) -> Result<()> {
    put_snapshot(connection, at, true, snapshot)
}

/// Keeps a snapshot in the place of the cached one, unless that one is later.
pub(crate) fn put_cached(connection: &Connection, at: &SnapshotKey, snapshot: &SnapshotRow) -> Result<()> {
    let SnapshotKey { name, key, fold_version } = at;
    connection
        .prepare_cached(
            "DELETE FROM snapshots WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, 0)
             AND (number, zone) <= (?4, ?5)",
        )?
        .execute(params![name, key, fold_version, snapshot.number, snapshot.zone])?;
    let later = connection
        .prepare_cached("SELECT 1 FROM snapshots WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, 0)")?
        .exists(params![name, key, fold_version])?;
    if later { Ok(()) } else { put_snapshot(connection, at, false, snapshot) }
}

fn put_snapshot(
    connection: &Connection,
    at: &SnapshotKey,
    epoch: bool,
    snapshot: &SnapshotRow,
) -> Result<()> {
    let SnapshotRow { number, zone, time, version, value } = snapshot;
    let value = value.as_ref().map(|(text, bytes)| Bytes { text: *text, bytes });
    connection
        .prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![at.name, at.key, at.fold_version, epoch, number, zone, time, version, value])
        .map(drop)
}

/// The snapshot with the least sequence.
pub(crate) fn earliest_snapshot(connection: &Connection, at: &SnapshotKey) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, i64::MAX, u16::MAX, "<=", "ASC")
}

/// The snapshot with the greatest sequence.
pub(crate) fn latest_snapshot(connection: &Connection, at: &SnapshotKey) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, i64::MAX, u16::MAX, "<=", "DESC")
}

/// The snapshot with the greatest sequence less than this one.
pub(crate) fn snapshot_before(
    connection: &Connection,
    at: &SnapshotKey,
    number: i64,
    zone: u16,
) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, number, zone, "<", "DESC")
}

fn find_snapshot(
    connection: &Connection,
    at: &SnapshotKey,
    number: i64,
    zone: u16,
    compare: &str,
    order: &str,
) -> Result<Option<SnapshotRow>> {
    // Each half is one search of the primary key.
    let half = |epoch| {
        format!(
            "SELECT * FROM (SELECT number, zone, time, version, value FROM snapshots
             WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, {epoch})
             AND (number, zone) {compare} (?4, ?5) ORDER BY number {order}, zone {order} LIMIT 1)"
        )
    };
    connection
        .prepare_cached(&format!(
            "{} UNION ALL {} ORDER BY number {order}, zone {order} LIMIT 1",
            half(0),
            half(1)
        ))?
        .query_row(params![at.name, at.key, at.fold_version, number, zone], |row| {
            Ok(SnapshotRow {
                number: row.get(0)?,
                zone: row.get(1)?,
                time: row.get(2)?,
                version: row.get(3)?,
                value: bytes(row, 4)?,
            })
        })
        .optional()
}

/// Bytes that are kept as text where they are text.
struct Bytes<'a> {
    text: bool,
    bytes: &'a [u8],
}

impl ToSql for Bytes<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let value = if self.text { ValueRef::Text(self.bytes) } else { ValueRef::Blob(self.bytes) };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// Whether they are text, and the bytes of a column.
fn bytes(row: &Row<'_>, column: usize) -> Result<Option<(bool, Vec<u8>)>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) => Some((true, bytes.to_vec())),
        ValueRef::Blob(bytes) => Some((false, bytes.to_vec())),
        other => {
            let found = Value::try_from(other).map_or_else(|_| "NULL".into(), |v| format!("{v:?}"));
            return Err(rusqlite::Error::InvalidColumnType(column, found, other.data_type()));
        }
    })
}

#[cfg(test)]
mod tests;
