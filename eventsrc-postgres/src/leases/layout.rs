//! The tables of leases. This file and the files below it alone know their names and the SQL.
//!
//! A worker has one row for each group, however many leases it holds, and the heartbeat in it counts for all of them. So a
//! renewal writes that row, and the rows of the leases that have a new checkpoint.
//!
//! The row of a worker is locked by each of its renewals, and by each take that makes or replaces it as an owner, so a
//! renewal and a take are serialised. A take or a claim also keeps the row of the new owner or next owner from being
//! deleted.

mod rows;
mod schema;
mod statements;

pub(super) use rows::{CheckpointRows, LeaseRow};
pub(crate) use schema::PART;
pub(super) use statements::LeaseLayout;
