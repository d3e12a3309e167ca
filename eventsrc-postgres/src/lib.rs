//! Postgres for eventsrc: events and snapshots in one schema of a database.

mod address;
mod connections;
mod failure;
mod identifier;
mod layout;
mod migration;
mod postgres;
mod settings;
mod tls;

pub use postgres::Postgres;
pub use settings::{Settings, Tls};
