//! Postgres for eventsrc: events, snapshots, views and leases, with their tables in one schema of a database.
//!
//! A [`Postgres`] is one database. Any number of [`PostgresStorage`]s and [`PostgresSnapshots`] share it, of one type of
//! key and payload each, and so may other processes. A commit is durable before it is acknowledged; commits that are put
//! at the same time share one statement and one sync of the server's disk, and one that comes alone is one round trip.
//!
//! ```
//! use eventsrc_core::{Consistency, Event, Operation, Query, QueryApi, SaveApi, StreamName};
//! use eventsrc_core::query::SnapshotPolicy;
//! use eventsrc_core::fold_fn;
//! use eventsrc_postgres::{Postgres, PostgresSnapshots, PostgresStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let url = eventsrc_test_servers::postgres().await.database("names").await;
//! // Such as `postgres://service:password@db.example.com/names`.
//! let postgres = Postgres::connect(&url).await?;
//! let storage: PostgresStorage<StreamName, u64, String> = PostgresStorage::new(&postgres);
//!
//! let ada = "user/1".parse()?;
//! let saves = SaveApi::new(storage.clone());
//! let saved = saves.save(&ada, Operation::if_absent("Ada Lovelace".to_owned())).await?;
//!
//! // The latest name, from the latest snapshot and the events after it.
//! let fold = fold_fn(|_, name: &mut Option<String>, event: Event<'_, StreamName, u64, String>| {
//!     *name = Some(event.payload.clone());
//! });
//! let snapshots = PostgresSnapshots::new(&postgres, "name");
//! let names = QueryApi::new(storage, fold).with_snapshots(snapshots, SnapshotPolicy::Every(100));
//! let name = names.snapshot(&ada, Consistency::LatestEvent).await?;
//! assert_eq!(name.value.as_deref(), Some("Ada Lovelace"));
//! assert_eq!(name.sequence(), saved.saved().map(|saved| saved.sequence));
//! # Ok(())
//! # }
//! ```
//!
//! # Who may do what
//!
//! The user who connects first makes the tables and owns them. A service should connect as another one, who was
//! [granted](Postgres::grant_service) what a service needs: it appends events and never changes one.
//!
//! Connections are encrypted, and the server's certificate verified, unless the server is local or [`Tls`] says otherwise.
//! Neither errors nor anything that is printed contains a password.

mod address;
mod append;
mod bucket;
mod chunk;
mod committer;
mod connections;
mod failure;
mod identifier;
mod layout;
mod leases;
mod migration;
mod postgres;
mod rows;
mod settings;
mod snapshots;
mod storage;
mod tls;
mod view;

pub use leases::PostgresLeases;
pub use postgres::Postgres;
pub use settings::{Settings, Tls};
pub use snapshots::PostgresSnapshots;
pub use storage::PostgresStorage;
pub use tokio_postgres;
pub use view::{PostgresView, Transaction, View, each};
