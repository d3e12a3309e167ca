//! The tables of positions, quarantine and skips. Each row belongs to one version of a view, which it names by row id.

use rusqlite::{CachedStatement, Connection, Result, Row, params};

/// Creates the tables.
pub(in crate::layout) const TABLES: &str = "
    CREATE TABLE view_positions (
        view_version INTEGER NOT NULL,
        stream TEXT NOT NULL,       -- category/id
        number INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        PRIMARY KEY (view_version, stream)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE view_quarantine (
        view_version INTEGER NOT NULL,
        stream TEXT NOT NULL,
        number INTEGER NOT NULL,    -- of the commit that cannot be applied
        zone INTEGER NOT NULL,
        error TEXT NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (view_version, stream)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE view_skips (
        view_version INTEGER NOT NULL,
        stream TEXT NOT NULL,
        number INTEGER NOT NULL,    -- where it left the position
        zone INTEGER NOT NULL,
        from_number INTEGER,        -- NULL before the first event
        from_zone INTEGER,
        reason TEXT NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (view_version, stream, number, zone)
    ) STRICT, WITHOUT ROWID;
";

/// A sequence in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PositionRow {
    pub(crate) number: i64,
    pub(crate) zone: u16,
}

impl PositionRow {
    /// Reads a number and a zone from `column` on. `None` if the number is `NULL`.
    fn read(row: &Row<'_>, column: usize) -> Result<Option<Self>> {
        let number: Option<i64> = row.get(column)?;
        number.map(|number| Ok(Self { number, zone: row.get(column + 1)? })).transpose()
    }
}

/// Advances positions of one version of a view. It must not be used after another stream went into quarantine.
pub(crate) struct PositionUpdater<'a> {
    id: i64,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
}

impl<'a> PositionUpdater<'a> {
    /// Prepares the statements for the version with row id `id`.
    pub(crate) fn new(connection: &'a Connection, id: i64) -> Result<Self> {
        // Most versions have no quarantine, and then the statements need not search it for each stream.
        let any = connection
            .prepare_cached("SELECT 1 FROM view_quarantine WHERE view_version = ?1 LIMIT 1")?
            .exists([id])?;
        let free = if any {
            "NOT EXISTS (SELECT 1 FROM view_quarantine WHERE view_version = ?1 AND stream = ?2)"
        } else {
            "TRUE"
        };
        Ok(Self {
            id,
            insert: connection.prepare_cached(&format!(
                "INSERT INTO view_positions SELECT ?1, ?2, ?3, ?4 WHERE {free} ON CONFLICT DO NOTHING"
            ))?,
            update: connection.prepare_cached(&format!(
                "UPDATE view_positions SET number = ?3, zone = ?4
                 WHERE view_version = ?1 AND stream = ?2 AND number = ?5 AND zone = ?6 AND {free}"
            ))?,
        })
    }

    /// Advances a stream from `from` to `to`. Returns false and changes nothing if the stream has another position or is
    /// in quarantine.
    pub(crate) fn advance(
        &mut self,
        stream: &str,
        from: Option<PositionRow>,
        to: PositionRow,
    ) -> Result<bool> {
        let changed = match from {
            None => self.insert.execute(params![self.id, stream, to.number, to.zone])?,
            Some(from) => {
                let values = params![self.id, stream, to.number, to.zone, from.number, from.zone];
                self.update.execute(values)?
            }
        };
        Ok(changed == 1)
    }
}

/// Position and quarantine of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamPositionRow {
    /// `None` before the first event.
    pub(crate) position: Option<PositionRow>,
    /// True if the stream is in quarantine.
    pub(crate) quarantined: bool,
}

/// Position and quarantine of a stream in the version with row id `id`.
pub(crate) fn position_of(connection: &Connection, id: i64, stream: &str) -> Result<StreamPositionRow> {
    connection
        .prepare_cached(
            "SELECT number, zone,
                 EXISTS (SELECT 1 FROM view_quarantine WHERE view_version = ?1 AND stream = ?2)
             FROM (SELECT 1) LEFT JOIN view_positions ON view_version = ?1 AND stream = ?2",
        )?
        .query_row(params![id, stream], |row| {
            Ok(StreamPositionRow { position: PositionRow::read(row, 0)?, quarantined: row.get(2)? })
        })
}

/// Positions of the first `limit` streams whose names sort after `after`, ordered by name.
pub(crate) fn positions(
    connection: &Connection,
    id: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, PositionRow)>> {
    connection
        .prepare_cached(
            "SELECT stream, number, zone FROM view_positions WHERE view_version = ?1 AND stream > ?2
             ORDER BY stream LIMIT ?3",
        )?
        .query_map(params![id, after, limit], |row| {
            Ok((row.get(0)?, PositionRow { number: row.get(1)?, zone: row.get(2)? }))
        })?
        .collect()
}

/// A stream whose position in one version of a view is behind its position in another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BehindRow {
    pub(crate) stream: String,
    /// Position in the version that is behind. `None` before the first event.
    pub(crate) from: Option<PositionRow>,
    /// Position in the other version.
    pub(crate) to: PositionRow,
    /// True if the stream is in quarantine in the version that is behind.
    pub(crate) quarantined: bool,
}

/// Streams whose position in version `id` is behind their position in version `other`, ordered by name. Both arguments
/// are row ids.
pub(crate) fn behind(connection: &Connection, id: i64, other: i64) -> Result<Vec<BehindRow>> {
    connection
        .prepare(
            "SELECT other.stream, own.number, own.zone, other.number, other.zone,
                 EXISTS (SELECT 1 FROM view_quarantine WHERE view_version = ?1 AND stream = other.stream)
             FROM view_positions AS other
             LEFT JOIN view_positions AS own ON own.view_version = ?1 AND own.stream = other.stream
             WHERE other.view_version = ?2
             AND (own.number IS NULL OR (own.number, own.zone) < (other.number, other.zone))
             ORDER BY other.stream",
        )?
        .query_map([id, other], |row| {
            Ok(BehindRow {
                stream: row.get(0)?,
                from: PositionRow::read(row, 1)?,
                to: PositionRow { number: row.get(3)?, zone: row.get(4)? },
                quarantined: row.get(5)?,
            })
        })?
        .collect()
}

/// A commit that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuarantineRow {
    pub(crate) stream: String,
    /// Position of the stream. `None` before the first event.
    pub(crate) position: Option<PositionRow>,
    /// First sequence of the commit.
    pub(crate) commit: PositionRow,
    pub(crate) error: String,
    /// Microseconds since 1970.
    pub(crate) time: i64,
}

/// Puts a stream in quarantine. Changes nothing if its position is not `entry.position`, or if it is in quarantine.
pub(crate) fn quarantine(connection: &Connection, id: i64, entry: &QuarantineRow) -> Result<()> {
    if position_of(connection, id, &entry.stream)?.position != entry.position {
        return Ok(());
    }
    let QuarantineRow { stream, commit, error, time, .. } = entry;
    connection
        .prepare_cached("INSERT OR IGNORE INTO view_quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![id, stream, commit.number, commit.zone, error, time])
        .map(drop)
}

/// Releases a stream from quarantine. Returns false if it was not in quarantine.
pub(crate) fn release(connection: &Connection, id: i64, stream: &str) -> Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM view_quarantine WHERE view_version = ?1 AND stream = ?2")?
        .execute(params![id, stream])?;
    Ok(removed == 1)
}

/// Streams in quarantine, ordered by name.
pub(crate) fn quarantined(connection: &Connection, id: i64) -> Result<Vec<QuarantineRow>> {
    connection
        .prepare_cached(
            "SELECT stream, own.number, own.zone, poison.number, poison.zone, error, time
             FROM view_quarantine AS poison LEFT JOIN view_positions AS own USING (view_version, stream)
             WHERE view_version = ?1 ORDER BY stream",
        )?
        .query_map([id], |row| {
            Ok(QuarantineRow {
                stream: row.get(0)?,
                position: PositionRow::read(row, 1)?,
                commit: PositionRow { number: row.get(3)?, zone: row.get(4)? },
                error: row.get(5)?,
                time: row.get(6)?,
            })
        })?
        .collect()
}

/// A recorded decision to skip commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkipRow {
    pub(crate) stream: String,
    /// Position before the skip. `None` before the first event.
    pub(crate) from: Option<PositionRow>,
    /// Position after the skip.
    pub(crate) to: PositionRow,
    pub(crate) reason: String,
    /// Microseconds since 1970.
    pub(crate) time: i64,
}

/// Records a skip.
pub(crate) fn record_skip(connection: &Connection, id: i64, skip: &SkipRow) -> Result<()> {
    let SkipRow { stream, from, to, reason, time } = skip;
    let (from_number, from_zone) = (from.map(|from| from.number), from.map(|from| from.zone));
    connection
        .prepare_cached("INSERT INTO view_skips VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![id, stream, to.number, to.zone, from_number, from_zone, reason, time])
        .map(drop)
}

/// All recorded skips, ordered by stream and sequence.
pub(crate) fn skipped(connection: &Connection, id: i64) -> Result<Vec<SkipRow>> {
    connection
        .prepare_cached(
            "SELECT stream, from_number, from_zone, number, zone, reason, time FROM view_skips
             WHERE view_version = ?1 ORDER BY stream, number, zone",
        )?
        .query_map([id], |row| {
            Ok(SkipRow {
                stream: row.get(0)?,
                from: PositionRow::read(row, 1)?,
                to: PositionRow { number: row.get(3)?, zone: row.get(4)? },
                reason: row.get(5)?,
                time: row.get(6)?,
            })
        })?
        .collect()
}

/// Removes all positions, quarantine and skips of a version.
pub(super) fn remove_positions(connection: &Connection, id: i64) -> Result<()> {
    for table in ["view_positions", "view_quarantine", "view_skips"] {
        connection.execute(&format!("DELETE FROM {table} WHERE view_version = ?1"), [id])?;
    }
    Ok(())
}
