//! The table of view versions.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::positions::remove_positions;

/// Creates the table.
pub(in crate::layout) const TABLES: &str = "
    CREATE TABLE view_versions (
        view_version INTEGER PRIMARY KEY,
        view TEXT NOT NULL,
        version INTEGER NOT NULL,
        serves INTEGER NOT NULL,    -- 1 for the one that readers see
        tables TEXT NOT NULL,       -- public names, JSON
        UNIQUE (view, version)
    ) STRICT;
";

/// A version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) version: u32,
    /// True for the serving version.
    pub(crate) serves: bool,
    /// Public names of the tables, as JSON.
    pub(crate) tables: String,
}

/// Row id of a version of a view, if it exists. The tables of positions, quarantine and skips refer to it.
pub(crate) fn version(connection: &Connection, view: &str, version: u32) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT view_version FROM view_versions WHERE view = ?1 AND version = ?2")?
        .query_row(params![view, version], |row| row.get(0))
        .optional()
}

/// The serving version of a view, and its row id.
pub(crate) fn serving(connection: &Connection, view: &str) -> Result<Option<(u32, i64)>> {
    connection
        .prepare_cached("SELECT version, view_version FROM view_versions WHERE view = ?1 AND serves")?
        .query_row([view], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// All versions of a view.
pub(crate) fn versions(connection: &Connection, view: &str) -> Result<Vec<VersionRow>> {
    connection
        .prepare("SELECT version, serves, tables FROM view_versions WHERE view = ?1")?
        .query_map([view], |row| {
            Ok(VersionRow { version: row.get(0)?, serves: row.get(1)?, tables: row.get(2)? })
        })?
        .collect()
}

/// Another view that has a table of this public name in any of its versions.
pub(crate) fn other_owner(connection: &Connection, view: &str, table: &str) -> Result<Option<String>> {
    connection
        .prepare(
            "SELECT view FROM view_versions, json_each(tables) WHERE view <> ?1 AND json_each.value = ?2",
        )?
        .query_row([view, table], |row| row.get(0))
        .optional()
}

/// Records a new version of a view.
pub(crate) fn create_version(connection: &Connection, view: &str, row: &VersionRow) -> Result<()> {
    connection
        .prepare("INSERT INTO view_versions (view, version, serves, tables) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![view, row.version, row.serves, row.tables])
        .map(drop)
}

/// Records a version of a view as the serving version.
pub(crate) fn serve(connection: &Connection, view: &str, version: u32) -> Result<()> {
    connection
        .prepare("UPDATE view_versions SET serves = (version = ?2) WHERE view = ?1")?
        .execute(params![view, version])
        .map(drop)
}

/// Removes a version with its positions, quarantine and skips; its rows stay.
pub(crate) fn remove_version(connection: &Connection, id: i64) -> Result<()> {
    remove_positions(connection, id)?;
    connection.execute("DELETE FROM view_versions WHERE view_version = ?1", [id]).map(drop)
}
