//! The tables of a file. Only the files of this folder name tables and columns or contain SQL on them.

mod events;
mod schema;
mod snapshots;
#[cfg(test)]
mod tests;
mod text_or_blob;
pub(crate) mod views;
mod wholeness;

pub(crate) use events::{
    append, create_stream, fits, head, last_commit_up_to, last_position, last_stream, recent, start_up_to,
    stream, visit_heads, visit_segment, visit_stream,
};
pub(crate) use schema::{Identity, VERSION, identity, is_own_table, migrate, version_of_others};
pub(crate) use snapshots::{
    SnapshotKey, SnapshotRow, earliest_snapshot, latest_snapshot, put_cached, put_epoch, snapshot_before,
};
pub(crate) use wholeness::{pages, samples_fit};
