//! The tables of views: their versions, the rows of each version, and its positions, quarantine and skips.

pub(super) mod positions;
mod tables;
#[cfg(test)]
mod tests;
pub(super) mod versions;

pub(crate) use positions::{
    BehindRow, PositionRow, PositionUpdater, QuarantineRow, SkipRow, StreamPositionRow, behind, position_of,
    positions, quarantine, quarantined, record_skip, release, skipped,
};
pub(crate) use tables::{
    columns, drop_tables, object_type, publication, publish, unpublish, versioned_table, visit_rows,
};
pub(crate) use versions::{
    VersionRow, create_version, other_owner, remove_version, serve, serving, version, versions,
};
