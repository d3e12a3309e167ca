//! SQLite files: one that is closed for a restore, and one that stays open.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use eventsrc_core::StreamName;
use eventsrc_sqlite::rusqlite::Connection;
use eventsrc_sqlite::{Database, SqliteStorage};
use tempfile::TempDir;

use super::Restorable;
use crate::restored_store::swapped::Swapped;

type Sqlite = SqliteStorage<StreamName, u64, u64>;

/// An SQLite file. A backup is a copy of the closed file.
pub(in crate::restored_store) struct SqliteFile {
    folder: TempDir,
    storage: Swapped<Sqlite>,
}

impl SqliteFile {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Closes the file, copies `from` to `to`, and opens it again.
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        // Closing writes the log into the file.
        self.storage.replace(None);
        fs::copy(self.path(from), self.path(to))?;
        self.storage.replace(Some(Sqlite::new(&Database::open(self.path("events.db")).await?)));
        Ok(())
    }
}

impl Restorable for SqliteFile {
    type Storage = Swapped<Sqlite>;

    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = Database::open(folder.path().join("events.db")).await?;
        Ok(Self { folder, storage: Swapped::new(Sqlite::new(&database)) })
    }

    fn handles(&self) -> Vec<Self::Storage> {
        vec![self.storage.clone()]
    }

    async fn new_handle(&self) -> Result<Self::Storage> {
        Ok(self.storage.clone())
    }

    async fn back_up(&mut self) -> Result<()> {
        self.copy("events.db", "backup.db").await
    }

    async fn restore(&mut self) -> Result<()> {
        self.copy("backup.db", "events.db").await
    }
}

/// An SQLite file that stays open. A backup is a copy of its tables in another file, and a restore puts their rows back in
/// one transaction of another program.
pub(in crate::restored_store) struct OpenSqliteFile {
    folder: TempDir,
    database: Database,
}

impl OpenSqliteFile {
    /// Executes a statement for each table, with its name in place of `{table}`, in one transaction.
    fn for_each_table(&self, statement: &str) -> Result<()> {
        let connection = Connection::open(self.folder.path().join("events.db"))?;
        let backup = self.folder.path().join("backup.db");
        connection.execute("ATTACH ?1 AS backup", [backup.to_string_lossy()])?;
        let tables = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
        let mut statements = String::from("BEGIN IMMEDIATE;");
        for table in connection.prepare(tables)?.query_map([], |row| row.get::<_, String>(0))? {
            statements += &statement.replace("{table}", &table?);
        }
        statements += "COMMIT;";
        Ok(connection.execute_batch(&statements)?)
    }
}

impl Restorable for OpenSqliteFile {
    type Storage = SqliteStorage<StreamName, u64, u64>;

    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = Database::open(folder.path().join("events.db")).await?;
        Ok(Self { folder, database })
    }

    fn handles(&self) -> Vec<Self::Storage> {
        vec![SqliteStorage::new(&self.database)]
    }

    async fn new_handle(&self) -> Result<Self::Storage> {
        Ok(SqliteStorage::new(&Database::open(self.folder.path().join("events.db")).await?))
    }

    async fn back_up(&mut self) -> Result<()> {
        self.for_each_table("CREATE TABLE backup.{table} AS SELECT * FROM main.{table};")
    }

    async fn restore(&mut self) -> Result<()> {
        self.for_each_table(
            "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM backup.{table};",
        )
    }
}
