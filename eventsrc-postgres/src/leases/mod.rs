//! Leases in Postgres.

pub(crate) mod layout;
mod store;

pub use store::PostgresLeases;
