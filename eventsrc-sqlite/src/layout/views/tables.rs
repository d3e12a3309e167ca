//! Tables with the rows of views, and the SQL views under their public names.
//!
//! A view's own code defines and writes these tables. The rows of the public table `users` are in `users_v2` for
//! version 2, and `users` is an SQL view of the rows of the serving version.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result};

/// Type of the object with this name in the file: `table`, `view`, `index` or `trigger`.
pub(crate) fn object_type(connection: &Connection, name: &str) -> Result<Option<String>> {
    connection
        .query_row("SELECT type FROM sqlite_schema WHERE lower(name) = ?1", [name], |row| row.get(0))
        .optional()
}

/// Name of the table with the rows that a version has in the public table `table`.
pub(crate) fn versioned_table(table: &str, version: u32) -> String {
    format!("{table}_v{version}")
}

/// Creates the SQL view `table`, which shows the rows of `version`.
pub(crate) fn publish(connection: &Connection, table: &str, version: u32) -> Result<()> {
    connection.execute_batch(&publication(table, version))
}

/// The statement that creates the SQL view `table`.
pub(crate) fn publication(table: &str, version: u32) -> String {
    let rows = versioned_table(table, version);
    format!("CREATE VIEW \"{table}\" AS SELECT * FROM \"{rows}\"")
}

/// Drops the SQL view `table`, if it exists.
pub(crate) fn unpublish(connection: &Connection, table: &str) -> Result<()> {
    connection.execute_batch(&format!("DROP VIEW IF EXISTS \"{table}\""))
}

/// Drops the tables of a version that exist, with their rows.
pub(crate) fn drop_tables(connection: &Connection, tables: &[String], version: u32) -> Result<()> {
    let mut existing = Vec::new();
    for rows in tables.iter().map(|table| versioned_table(table, version)) {
        if object_type(connection, &rows)?.as_deref() == Some("table") {
            existing.push(rows);
        }
    }
    // Rows may refer to each other in any direction until all are gone.
    connection.pragma_update(None, "defer_foreign_keys", true)?;
    for statement in ["DELETE FROM", "DROP TABLE"] {
        for rows in &existing {
            connection.execute_batch(&format!("{statement} \"{rows}\""))?;
        }
    }
    connection.pragma_update(None, "defer_foreign_keys", false)
}

/// Names of the columns that a version has in the public table `table`, in the order of [`visit_rows`].
pub(crate) fn columns(connection: &Connection, table: &str, version: u32) -> Result<Vec<String>> {
    let rows = versioned_table(table, version);
    let statement = connection.prepare(&format!("SELECT * FROM \"{rows}\""))?;
    Ok(statement.column_names().map(str::to_owned).collect())
}

/// Calls `visit` with the values of each row that a version has in the public table `table`. The order of the rows is
/// not defined.
pub(crate) fn visit_rows(
    connection: &Connection,
    table: &str,
    version: u32,
    mut visit: impl FnMut(&mut dyn Iterator<Item = ValueRef<'_>>),
) -> Result<()> {
    let rows = versioned_table(table, version);
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{rows}\""))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(&mut (0..columns).map(|column| row.get_ref_unwrap(column)));
    }
    Ok(())
}
