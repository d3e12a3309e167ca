//! Postgres for eventsrc: events and snapshots in one schema of a database.

mod address;
mod append;
mod bucket;
mod chunk;
mod committer;
mod connections;
mod failure;
mod identifier;
mod layout;
mod migration;
mod postgres;
mod rows;
mod settings;
mod snapshots;
mod storage;
mod tls;
mod view;

pub use postgres::Postgres;
pub use settings::{Settings, Tls};
pub use snapshots::PostgresSnapshots;
pub use storage::PostgresStorage;
pub use tokio_postgres;
pub use view::{PostgresView, Transaction, View, each};
