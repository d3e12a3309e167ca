//! The embedded default of eventsrc: events, snapshots and views in one SQLite file.
//!
//! A [`Database`] is one file. Any number of [`SqliteStorage`]s, [`SqliteSnapshots`] and [`SqliteView`]s share it, of one
//! type of key and payload each, and so may other processes. Each acknowledged commit is on the disk (WAL, synced); commits that
//! are put at the same time share one sync, so that many writers are not slower than the disk.
//!
//! ```
//! use eventsrc_core::{Consistency, Event, Operation, Query, QueryApi, SaveApi, StreamName};
//! use eventsrc_core::query::SnapshotPolicy;
//! use eventsrc_core::fold_fn;
//! use eventsrc_sqlite::{Database, SqliteSnapshots, SqliteStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("names.db");
//! let database = Database::open(&path).await?;
//! let storage: SqliteStorage<StreamName, u64, String> = SqliteStorage::new(&database);
//!
//! let ada = "user/1".parse()?;
//! let saves = SaveApi::new(storage.clone());
//! let saved = saves.save(&ada, Operation::if_absent("Ada Lovelace".to_owned())).await?;
//!
//! // The latest name, from the latest snapshot and the events after it.
//! let fold = fold_fn(|_, name: &mut Option<String>, event: Event<'_, StreamName, u64, String>| {
//!     *name = Some(event.payload.clone());
//! });
//! let snapshots = SqliteSnapshots::new(&database, "name");
//! let names = QueryApi::new(storage, fold).with_snapshots(snapshots, SnapshotPolicy::Every(100));
//! let name = names.snapshot(&ada, Consistency::LatestEvent).await?;
//! assert_eq!(name.value.as_deref(), Some("Ada Lovelace"));
//! assert_eq!(name.sequence(), saved.saved().map(|saved| saved.sequence));
//! # Ok(())
//! # }
//! ```

mod append;
mod chunk;
mod database;
mod failure;
mod guard;
mod layout;
mod open;
mod rows;
mod snapshots;
mod storage;
mod view;
mod work;
mod writer;

pub use rusqlite;

pub use database::{Database, Settings};
pub use snapshots::SqliteSnapshots;
pub use storage::SqliteStorage;
pub use view::{SqliteView, View};
