//! The embedded default of eventsrc: events and snapshots in one SQLite file.
//!
//! A [`Database`] is one file. Any number of [`SqliteStorage`]s and [`SqliteSnapshots`] share it, of one type of key
//! and payload each, and so may other processes. Each acknowledged commit is on the disk (WAL, synced); commits that
//! are put at the same time share one sync, so that many writers are not slower than the disk.
//!
//! ```
//! use eventsrc_core::{Consistency, Operation, Query, QueryApi, SaveApi, StreamName, Unmet};
//! use eventsrc_core::{fold_fn, vec1};
//! use eventsrc_sqlite::{Database, SqliteSnapshots, SqliteStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("events.db");
//! let database = Database::open(&path).await?;
//! let storage: SqliteStorage<StreamName, u64, String> = SqliteStorage::new(&database);
//!
//! # Ok(())
//! # }
//! ```

mod append;
mod chunk;
mod database;
mod failure;
mod layout;
mod open;
mod rows;
mod snapshots;
mod storage;
mod writer;

pub use database::{Database, Settings};
pub use snapshots::SqliteSnapshots;
pub use storage::SqliteStorage;
