//! A program without eventsrc: rusqlite with prepared statements, with the same durability as eventsrc.

use std::path::Path;

use anyhow::Result;
use eventsrc_core::Timestamp;
use rusqlite::{Connection, params};

use crate::account;

/// A table with the columns that events need.
pub(crate) struct Bare(Connection);

/// A row to insert. Its time and id are derived from the number.
pub(crate) struct BareRow<'a> {
    pub(crate) stream: &'a str,
    pub(crate) number: u64,
    pub(crate) payload: String,
}

impl Bare {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE events (
                position INTEGER PRIMARY KEY,
                stream TEXT NOT NULL,
                number INTEGER NOT NULL,
                time INTEGER NOT NULL,
                id BLOB NOT NULL,
                payload TEXT NOT NULL,
                UNIQUE (stream, number)
            ) STRICT",
        )?;
        Ok(Self(connection))
    }

    /// Inserts `rows` in one synced transaction.
    pub(crate) fn insert<'a>(&mut self, rows: impl IntoIterator<Item = BareRow<'a>>) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (stream, number, time, id, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for BareRow { stream, number, payload } in rows {
                let time = Timestamp::from_second(1_700_000_000 + number as i64)?.as_microsecond();
                insert.execute(params![
                    stream,
                    number as i64,
                    time,
                    account::id(number).0.as_bytes(),
                    payload
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Calls `visit` with each payload of a stream, in order.
    pub(crate) fn visit(&self, stream: &str, mut visit: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut select =
            self.0.prepare_cached("SELECT payload FROM events WHERE stream = ?1 ORDER BY number")?;
        let mut rows = select.query([stream])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_str()?)?;
        }
        Ok(())
    }
}
