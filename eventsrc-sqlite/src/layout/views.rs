//! The tables of views: their versions, and of each version the positions, the quarantine and the decisions to skip.
//!
//! The rows of a version are the user's own. Those of the public table `users` lie in `users_v2` for version 2, and
//! `users` is an SQL view of what the serving version has.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row, params};

/// Makes the tables of views.
pub(super) const TABLES: &str = "
    CREATE TABLE view_versions (
        view_version INTEGER PRIMARY KEY,
        view TEXT NOT NULL,
        version INTEGER NOT NULL,
        serves INTEGER NOT NULL,    -- 1 for the one that readers see
        tables TEXT NOT NULL,       -- public names, JSON
        UNIQUE (view, version)
    ) STRICT;
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

/// A version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) version: u32,
    pub(crate) serves: bool,
    /// The public names of its tables, as JSON.
    pub(crate) tables: String,
}

/// The number that a version of a view goes by in the other tables, if there is such a version.
pub(crate) fn version(connection: &Connection, view: &str, version: u32) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT view_version FROM view_versions WHERE view = ?1 AND version = ?2")?
        .query_row(params![view, version], |row| row.get(0))
        .optional()
}

/// The version of a view that readers see, and the number that it goes by.
pub(crate) fn serving(connection: &Connection, view: &str) -> Result<Option<(u32, i64)>> {
    connection
        .prepare_cached("SELECT version, view_version FROM view_versions WHERE view = ?1 AND serves")?
        .query_row([view], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The versions of a view.
pub(crate) fn versions(connection: &Connection, view: &str) -> Result<Vec<VersionRow>> {
    connection
        .prepare("SELECT version, serves, tables FROM view_versions WHERE view = ?1")?
        .query_map([view], |row| {
            Ok(VersionRow { version: row.get(0)?, serves: row.get(1)?, tables: row.get(2)? })
        })?
        .collect()
}

/// Another view that has a table of this public name, in any of its versions.
pub(crate) fn other_owner(connection: &Connection, view: &str, table: &str) -> Result<Option<String>> {
    connection
        .prepare(
            "SELECT view FROM view_versions, json_each(tables) WHERE view <> ?1 AND json_each.value = ?2",
        )?
        .query_row([view, table], |row| row.get(0))
        .optional()
}

/// Keeps a new version of a view.
pub(crate) fn create_version(connection: &Connection, view: &str, row: &VersionRow) -> Result<()> {
    connection
        .prepare("INSERT INTO view_versions (view, version, serves, tables) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![view, row.version, row.serves, row.tables])
        .map(drop)
}

/// Makes a version of a view the one that readers see.
pub(crate) fn serve(connection: &Connection, view: &str, version: u32) -> Result<()> {
    connection
        .prepare("UPDATE view_versions SET serves = (version = ?2) WHERE view = ?1")?
        .execute(params![view, version])
        .map(drop)
}

/// Removes what is kept of a version.
pub(crate) fn remove_version(connection: &Connection, id: i64) -> Result<()> {
    for table in ["view_positions", "view_quarantine", "view_skips", "view_versions"] {
        connection.execute(&format!("DELETE FROM {table} WHERE view_version = ?1"), [id])?;
    }
    Ok(())
}

/// What lies under a name in the file: `table`, `view`, `index` or `trigger`.
pub(crate) fn kind_of(connection: &Connection, name: &str) -> Result<Option<String>> {
    connection
        .query_row("SELECT type FROM sqlite_schema WHERE lower(name) = ?1", [name], |row| row.get(0))
        .optional()
}

/// The name of the table in which a version keeps the rows of the public table `table`.
pub(crate) fn versioned(table: &str, version: u32) -> String {
    format!("{table}_v{version}")
}

/// Has the public name `table` show the rows of `version`.
pub(crate) fn publish(connection: &Connection, table: &str, version: u32) -> Result<()> {
    let rows = versioned(table, version);
    connection.execute_batch(&format!("CREATE VIEW \"{table}\" AS SELECT * FROM \"{rows}\""))
}

/// Takes the public name `table` back.
pub(crate) fn unpublish(connection: &Connection, table: &str) -> Result<()> {
    connection.execute_batch(&format!("DROP VIEW IF EXISTS \"{table}\""))
}

/// Removes the rows that a version has in these tables.
pub(crate) fn drop_tables(connection: &Connection, tables: &[String], version: u32) -> Result<()> {
    // Rows may refer to each other in any direction until all are gone.
    connection.pragma_update(None, "defer_foreign_keys", true)?;
    for statement in ["DELETE FROM", "DROP TABLE"] {
        for table in tables {
            connection.execute_batch(&format!("{statement} \"{}\"", versioned(table, version)))?;
        }
    }
    connection.pragma_update(None, "defer_foreign_keys", false)
}

/// Shows `visit` the rows that a version has in the public table `table`, in any order; each as its number of columns and
/// what they hold.
pub(crate) fn visit_rows(
    connection: &Connection,
    table: &str,
    version: u32,
    mut visit: impl FnMut(&mut dyn Iterator<Item = ValueRef<'_>>),
) -> Result<()> {
    let rows = versioned(table, version);
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{rows}\""))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(&mut (0..columns).map(|column| row.get_ref_unwrap(column)));
    }
    Ok(())
}

/// A position in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PositionRow {
    pub(crate) number: i64,
    pub(crate) zone: u16,
}

impl PositionRow {
    /// Reads a number and a zone from `column` on; `None` if there are none.
    fn read(row: &Row<'_>, column: usize) -> Result<Option<Self>> {
        let number: Option<i64> = row.get(column)?;
        number.map(|number| Ok(Self { number, zone: row.get(column + 1)? })).transpose()
    }
}

/// Moves positions of one version of a view, as long as no stream is put in quarantine.
pub(crate) struct Mover<'a> {
    id: i64,
    begin: CachedStatement<'a>,
    advance: CachedStatement<'a>,
}

impl<'a> Mover<'a> {
    /// A mover for the version that goes by `id`.
    pub(crate) fn new(connection: &'a Connection, id: i64) -> Result<Self> {
        // Mostly there is no quarantine at all, and then no stream has to be looked for there.
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
            begin: connection.prepare_cached(&format!(
                "INSERT INTO view_positions SELECT ?1, ?2, ?3, ?4 WHERE {free} ON CONFLICT DO NOTHING"
            ))?,
            advance: connection.prepare_cached(&format!(
                "UPDATE view_positions SET number = ?3, zone = ?4
                 WHERE view_version = ?1 AND stream = ?2 AND number = ?5 AND zone = ?6 AND {free}"
            ))?,
        })
    }

    /// Moves a stream, if it is at `from` and not in quarantine; whether it was.
    pub(crate) fn advance(
        &mut self,
        stream: &str,
        from: Option<PositionRow>,
        to: PositionRow,
    ) -> Result<bool> {
        let moved = match from {
            None => self.begin.execute(params![self.id, stream, to.number, to.zone])?,
            Some(from) => {
                let parts = params![self.id, stream, to.number, to.zone, from.number, from.zone];
                self.advance.execute(parts)?
            }
        };
        Ok(moved == 1)
    }
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamPositionRow {
    pub(crate) position: Option<PositionRow>,
    pub(crate) quarantined: bool,
}

/// Where a stream is in the version that goes by `id`.
pub(crate) fn place(connection: &Connection, id: i64, stream: &str) -> Result<StreamPositionRow> {
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

/// The positions of the streams whose names come after `after`, at most `limit`, by name.
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

/// A stream of which one version of a view lies behind another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BehindRow {
    pub(crate) stream: String,
    pub(crate) from: Option<PositionRow>,
    pub(crate) to: PositionRow,
    pub(crate) quarantined: bool,
}

/// The streams of which the version that goes by `id` lies behind the one that goes by `other`, by name.
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
    pub(crate) position: Option<PositionRow>,
    /// Where the commit begins.
    pub(crate) commit: PositionRow,
    pub(crate) error: String,
    /// Microseconds since 1970.
    pub(crate) time: i64,
}

/// Puts a stream in quarantine, if it is where `poison` says and not there yet.
pub(crate) fn quarantine(connection: &Connection, id: i64, poison: &QuarantineRow) -> Result<()> {
    if place(connection, id, &poison.stream)?.position != poison.position {
        return Ok(());
    }
    let QuarantineRow { stream, commit, error, time, .. } = poison;
    connection
        .prepare_cached("INSERT OR IGNORE INTO view_quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![id, stream, commit.number, commit.zone, error, time])
        .map(drop)
}

/// Ends the quarantine of a stream; whether it was in one.
pub(crate) fn release(connection: &Connection, id: i64, stream: &str) -> Result<bool> {
    let ended = connection
        .prepare_cached("DELETE FROM view_quarantine WHERE view_version = ?1 AND stream = ?2")?
        .execute(params![id, stream])?;
    Ok(ended == 1)
}

/// The streams in quarantine, by name.
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

/// A decision to leave commits out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkipRow {
    pub(crate) stream: String,
    pub(crate) from: Option<PositionRow>,
    pub(crate) to: PositionRow,
    pub(crate) reason: String,
    /// Microseconds since 1970.
    pub(crate) time: i64,
}

/// Records a decision.
pub(crate) fn record_skip(connection: &Connection, id: i64, skip: &SkipRow) -> Result<()> {
    let SkipRow { stream, from, to, reason, time } = skip;
    let (from_number, from_zone) = (from.map(|from| from.number), from.map(|from| from.zone));
    connection
        .prepare_cached("INSERT INTO view_skips VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![id, stream, to.number, to.zone, from_number, from_zone, reason, time])
        .map(drop)
}

/// The decisions, by stream and sequence.
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

#[cfg(test)]
mod tests;
