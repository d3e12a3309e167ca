#![doc = include_str!("../README.md")]

mod address;
mod append;
mod bucket;
mod committer;
mod connection;
mod connections;
mod decoded_page;
mod failure;
mod identifier;
mod layout;
mod leases;
mod migration;
mod postgres;
mod rows;
mod schema;
mod settings;
mod silence;
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
