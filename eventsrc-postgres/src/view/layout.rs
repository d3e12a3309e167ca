//! The tables of views: versions, and for each version positions, quarantines and skips. This file and the files below it
//! alone know their names and the SQL.
//!
//! The rows of a version are in tables of the view's code. Version 2 of the public table `users` is the table `users_v2`,
//! and `users` is an SQL view of the table of the serving version.

mod digest;
mod errors;
mod positions;
mod public_names;
mod records;
mod rows;
mod scan_rows;
mod schema;
mod statements;
mod stream_keys;
mod transactions;
mod versions;

pub(super) use digest::{begin_digest, digest};
pub(super) use errors::{
    ended_transaction, is_locked, is_other_transaction, is_quarantined, misses_a_name, misses_the_version,
    position_differs,
};
pub(super) use positions::{begin_reading, serving_positions};
pub(super) use public_names::{drop_tables, kind_of, missing_name, publication, publish, rights, unpublish};
pub(super) use records::{QuarantineRow, SkipRow};
pub(super) use rows::{PositionChangeRows, PositionRow, StreamPositionRow, VersionKey};
pub(super) use scan_rows::{ScannedRow, positions_in, scan_rows};
pub(crate) use schema::PART;
pub(super) use statements::ViewLayout;
pub(super) use stream_keys::key;
pub(super) use transactions::{
    BEGIN, COMMIT, LockMode, PreparedStatements, READ_ONLY, ROLLBACK, TransactionMark, limit_lock_wait,
    limit_reader_lock_wait, wait,
};
pub(super) use versions::{BehindRow, VersionRow};
