//! A ledger in an SQLite file.

use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use eventsrc_sqlite::rusqlite::{self, Connection};
use eventsrc_sqlite::{SqliteView, View};
use uuid::Uuid;

use super::{Entries, Ledger, definition};

/// The version of the ledger.
#[derive(Debug, Clone, Copy)]
pub struct SqliteLedger(pub u32);

impl View<StreamName, u64, i64> for SqliteLedger {
    fn definition(&self) -> ViewDefinition {
        definition(self.0)
    }

    fn tables(&self) -> &[&str] {
        &["entries", "totals"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        let version = self.0;
        // No constraint prevents a second row for a commit, so that the ledger shows one.
        connection.execute_batch(&format!(
            "CREATE TABLE entries_v{version} (
                 stream TEXT NOT NULL, first INTEGER NOT NULL, commit_id BLOB NOT NULL
             );
             CREATE TABLE totals_v{version} (stream TEXT PRIMARY KEY, total INTEGER NOT NULL);"
        ))
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, u64, i64>) -> Result<(), ViewError> {
        let version = self.0;
        let mut enter =
            transaction.prepare_cached(&format!("INSERT INTO entries_v{version} VALUES (?1, ?2, ?3)"))?;
        let mut add = transaction.prepare_cached(&format!(
            "INSERT INTO totals_v{version} VALUES (?1, ?2)
             ON CONFLICT (stream) DO UPDATE SET total = total + excluded.total"
        ))?;
        for commit in batch.commits() {
            let sum: i64 = commit.payloads.iter().sum();
            enter.execute((
                commit.key.as_str(),
                commit.first as i64,
                commit.metadata.commit_id.0.as_bytes(),
            ))?;
            add.execute((commit.key.as_str(), sum))?;
        }
        Ok(())
    }
}

impl Ledger for SqliteView<StreamName, u64, i64, SqliteLedger> {
    async fn read_ledger(&self) -> Result<Entries, StorageError> {
        use eventsrc_core::view::ViewStore as _;
        let version = self.definition().version();
        let read = move |connection: &Connection| {
            let mut entries = Entries::default();
            let sql = format!("SELECT stream, first, commit_id FROM entries_v{version} ORDER BY rowid");
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let commit = (row.get::<_, i64>(1)?.unsigned_abs(), Uuid::from_bytes(row.get(2)?));
                entries.commits.entry(row.get(0)?).or_default().push(commit);
            }
            let mut statement =
                connection.prepare(&format!("SELECT stream, total FROM totals_v{version}"))?;
            let totals = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            entries.totals = totals.collect::<rusqlite::Result<_>>()?;
            Ok(entries)
        };
        Ok(self.read(&[], read).await?.1)
    }
}
