//! Identity and version of a file, and its migrations.

use rusqlite::{Connection, Result};

use super::{events, snapshots, views};

/// Application id in the header of every file of this library: `evsr`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"evsr");

/// Migrations, each from one version of the layout to the next. The first one starts from an empty file.
const MIGRATIONS: [&[&str]; 3] = [
    &[events::TABLES, snapshots::TABLES],
    &[views::versions::TABLES, views::positions::TABLES],
    &[events::ADD_PREVIOUS, snapshots::ADD_COMMIT_ID],
];

/// Version of the layout that this library writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// All tables of the library.
pub(super) const OWN_TABLES: [&str; 7] =
    ["streams", "commits", "snapshots", "view_versions", "view_positions", "view_quarantine", "view_skips"];

/// True if the table belongs to the library, so that the code of a view must not change it.
pub(crate) fn is_own_table(table: &str) -> bool {
    OWN_TABLES.contains(&table)
}

/// Origin of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The file has no tables yet.
    Empty,
    /// The file belongs to this library and has this version of the layout.
    Ours(i64),
    /// The file is an SQLite file of another program.
    Foreign,
}

/// Returns the identity of the file. The caller holds a transaction.
pub(crate) fn identity(connection: &Connection) -> Result<Identity> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == i64::from(APPLICATION_ID) && version > 0 {
        return Ok(Identity::Ours(version));
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if (application, version, tables) == (0, 0, 0) { Identity::Empty } else { Identity::Foreign })
}

/// Version of the file as other connections changed it. It differs from the last one if another connection has committed since
/// then, and changes of this connection do not count.
pub(crate) fn version_of_others(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Migrates a file from `version` (0: an empty file) to [`VERSION`]. The caller holds a transaction.
pub(crate) fn migrate(connection: &Connection, version: i64) -> Result<()> {
    for tables in MIGRATIONS[version as usize..].iter().copied().flatten() {
        connection.execute_batch(tables)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}
