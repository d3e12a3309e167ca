//! The table of snapshots.

use rusqlite::{Connection, OptionalExtension, Result, params};
use uuid::Uuid;

use super::text_or_blob::{TextOrBlob, text_or_blob};

/// Creates the table.
pub(super) const TABLES: &str = "
    CREATE TABLE snapshots (
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        fold_version INTEGER NOT NULL,
        epoch INTEGER NOT NULL,     -- 0 for the cached one
        number INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        time INTEGER NOT NULL,
        version INTEGER NOT NULL,   -- of the value
        value ANY,                  -- NULL for a deleted value
        PRIMARY KEY (name, key, fold_version, epoch, number, zone)
    ) STRICT, WITHOUT ROWID;
";

/// Adds the id of the commit of each snapshot. Snapshots that an earlier version of the library stored have none.
pub(super) const ADD_COMMIT_ID: &str = "ALTER TABLE snapshots ADD COLUMN commit_id BLOB;";

/// Key of the snapshots of one folded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotKey {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) fold_version: u32,
}

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    pub(crate) number: i64,
    pub(crate) zone: u16,
    pub(crate) time: i64,
    /// Id of the commit that ends at this sequence, if it is known.
    pub(crate) commit_id: Option<Uuid>,
    /// Version of the value.
    pub(crate) version: u32,
    /// True for text, and the encoded value. `None` for a deleted value.
    pub(crate) value: Option<(bool, Vec<u8>)>,
}

impl SnapshotRow {
    /// Size of the value in bytes.
    pub(crate) fn size(&self) -> usize {
        self.value.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }
}

/// Stores an epoch snapshot; the other snapshots stay.
pub(crate) fn put_epoch(connection: &Connection, at: &SnapshotKey, snapshot: &SnapshotRow) -> Result<()> {
    put_snapshot(connection, at, true, snapshot)
}

/// Replaces the cached snapshot, unless the stored one has a greater sequence.
pub(crate) fn put_cached(connection: &Connection, at: &SnapshotKey, snapshot: &SnapshotRow) -> Result<()> {
    let SnapshotKey { name, key, fold_version } = at;
    connection
        .prepare_cached(
            "DELETE FROM snapshots WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, 0)
             AND (number, zone) <= (?4, ?5)",
        )?
        .execute(params![name, key, fold_version, snapshot.number, snapshot.zone])?;
    let has_later = connection
        .prepare_cached("SELECT 1 FROM snapshots WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, 0)")?
        .exists(params![name, key, fold_version])?;
    if has_later { Ok(()) } else { put_snapshot(connection, at, false, snapshot) }
}

fn put_snapshot(
    connection: &Connection,
    at: &SnapshotKey,
    epoch: bool,
    snapshot: &SnapshotRow,
) -> Result<()> {
    let SnapshotRow { number, zone, time, commit_id, version, value } = snapshot;
    let value = value.as_ref().map(|(text, bytes)| TextOrBlob { text: *text, bytes });
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO snapshots
             (name, key, fold_version, epoch, number, zone, time, version, value, commit_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            at.name,
            at.key,
            at.fold_version,
            epoch,
            number,
            zone,
            time,
            version,
            value,
            commit_id.as_ref().map(Uuid::as_bytes),
        ])
        .map(drop)
}

/// The snapshot with the least sequence.
pub(crate) fn earliest_snapshot(connection: &Connection, at: &SnapshotKey) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, i64::MAX, u16::MAX, "<=", "ASC")
}

/// The snapshot with the greatest sequence.
pub(crate) fn latest_snapshot(connection: &Connection, at: &SnapshotKey) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, i64::MAX, u16::MAX, "<=", "DESC")
}

/// The snapshot with the greatest sequence less than this one.
pub(crate) fn snapshot_before(
    connection: &Connection,
    at: &SnapshotKey,
    number: i64,
    zone: u16,
) -> Result<Option<SnapshotRow>> {
    find_snapshot(connection, at, number, zone, "<", "DESC")
}

fn find_snapshot(
    connection: &Connection,
    at: &SnapshotKey,
    number: i64,
    zone: u16,
    compare: &str,
    order: &str,
) -> Result<Option<SnapshotRow>> {
    // Each half is one search of the primary key.
    let half = |epoch| {
        format!(
            "SELECT * FROM (SELECT number, zone, time, version, value, commit_id FROM snapshots
             WHERE (name, key, fold_version, epoch) = (?1, ?2, ?3, {epoch})
             AND (number, zone) {compare} (?4, ?5) ORDER BY number {order}, zone {order} LIMIT 1)"
        )
    };
    connection
        .prepare_cached(&format!(
            "{} UNION ALL {} ORDER BY number {order}, zone {order} LIMIT 1",
            half(0),
            half(1)
        ))?
        .query_row(params![at.name, at.key, at.fold_version, number, zone], |row| {
            Ok(SnapshotRow {
                number: row.get(0)?,
                zone: row.get(1)?,
                time: row.get(2)?,
                version: row.get(3)?,
                value: text_or_blob(row, 4)?.map(|(text, bytes)| (text, bytes.to_vec())),
                commit_id: row.get::<_, Option<[u8; 16]>>(5)?.map(Uuid::from_bytes),
            })
        })
        .optional()
}
