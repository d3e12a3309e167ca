//! Statements on snapshots. One table has the cached snapshot of each key, the other the permanent ones.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::text_or_bytes::TextOrBytes;
use crate::connections::Connections;
use crate::failure::{Failure, Unreadable};
use crate::identifier::Identifier;
use crate::migration::in_schema;

/// Statements on the snapshots in one schema.
pub(crate) struct SnapshotLayout {
    put_cached: String,
    put_epoch: String,
    earliest: String,
    latest: String,
    before: String,
}

/// Columns of a snapshot, in the order of [`SnapshotRow::read`].
const SNAPSHOT: &str = "number, zone, time, version, value_text, value_bytes, commit_id";

/// Columns of a snapshot in the table of cached ones. A process of version 1 of the tables replaces a snapshot and leaves
/// the commit id of the replaced one.
const CACHED: &str = "number, zone, time, version, value_text, value_bytes,
    CASE WHEN commit_number = number THEN commit_id END AS commit_id";

const PUT_CACHED: &str = "
    INSERT INTO {schema}.cached AS own (name, key, fold_version, {snapshot}, commit_number)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $4) ON CONFLICT (name, key, fold_version) DO UPDATE
    SET ({snapshot}, commit_number) = ROW (excluded.number, excluded.zone, excluded.time, excluded.version,
        excluded.value_text, excluded.value_bytes, excluded.commit_id, excluded.commit_number)
    WHERE (own.number, own.zone) <= (excluded.number, excluded.zone)";

const PUT_EPOCH: &str = "
    INSERT INTO {schema}.epochs (name, key, fold_version, {snapshot})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (name, key, fold_version, number, zone) DO UPDATE
    SET (time, version, value_text, value_bytes, commit_id)
        = ROW (excluded.time, excluded.version, excluded.value_text, excluded.value_bytes, excluded.commit_id)";

/// First or last snapshot of a key in both tables. Each half is one search in a primary key.
const FIND: &str = "
    (SELECT {cached} FROM {schema}.cached WHERE {condition})
    UNION ALL
    (SELECT {snapshot} FROM {schema}.epochs WHERE {condition} ORDER BY number {order}, zone {order} LIMIT 1)
    ORDER BY number {order}, zone {order} LIMIT 1";

const OF_KEY: &str = "name = $1 AND key = $2 AND fold_version = $3";
const OF_KEY_BEFORE: &str =
    "name = $1 AND key = $2 AND fold_version = $3 AND (number, zone) < ($4::bigint, $5::integer)";

impl SnapshotLayout {
    /// Statements for the tables in `schema`.
    pub(crate) fn new(schema: &Identifier) -> Self {
        let fill =
            |sql: &str| in_schema(&sql.replace("{cached}", CACHED).replace("{snapshot}", SNAPSHOT), schema);
        let find = |condition, order| fill(&FIND.replace("{condition}", condition).replace("{order}", order));
        Self {
            put_cached: fill(PUT_CACHED),
            put_epoch: fill(PUT_EPOCH),
            earliest: find(OF_KEY, "ASC"),
            latest: find(OF_KEY, "DESC"),
            before: find(OF_KEY_BEFORE, "DESC"),
        }
    }

    /// Replaces the cached snapshot, unless the stored one is later.
    pub(crate) async fn put_cached(
        &self,
        connections: &Connections,
        key: &SnapshotKey,
        snapshot: &SnapshotRow,
    ) -> Result<(), Failure> {
        put(connections, &self.put_cached, key, snapshot).await
    }

    /// Stores a permanent snapshot in addition to all others.
    pub(crate) async fn put_epoch(
        &self,
        connections: &Connections,
        key: &SnapshotKey,
        snapshot: &SnapshotRow,
    ) -> Result<(), Failure> {
        put(connections, &self.put_epoch, key, snapshot).await
    }

    /// Snapshot with the lowest sequence.
    pub(crate) async fn earliest(
        &self,
        connections: &Connections,
        key: &SnapshotKey,
    ) -> Result<Option<Result<SnapshotRow, Unreadable>>, Failure> {
        find(connections, &self.earliest, &key.parameters()).await
    }

    /// Snapshot with the highest sequence.
    pub(crate) async fn latest(
        &self,
        connections: &Connections,
        key: &SnapshotKey,
    ) -> Result<Option<Result<SnapshotRow, Unreadable>>, Failure> {
        find(connections, &self.latest, &key.parameters()).await
    }

    /// Snapshot with the highest sequence lower than the given one.
    pub(crate) async fn before(
        &self,
        connections: &Connections,
        key: &SnapshotKey,
        number: i64,
        zone: u16,
    ) -> Result<Option<Result<SnapshotRow, Unreadable>>, Failure> {
        let zone = i32::from(zone);
        let [name, key, fold_version] = key.parameters();
        find(connections, &self.before, &[name, key, fold_version, &number, &zone]).await
    }
}

async fn put(
    connections: &Connections,
    statement: &str,
    key: &SnapshotKey,
    snapshot: &SnapshotRow,
) -> Result<(), Failure> {
    let SnapshotRow { number, zone, time, commit_id, version, value } = snapshot;
    let [name, key, fold_version] = key.parameters();
    let text = value.as_ref().and_then(TextOrBytes::as_text);
    let binary = value.as_ref().and_then(TextOrBytes::as_binary);
    let (zone, version) = (i32::from(*zone), i64::from(*version));
    let parameters: [&(dyn ToSql + Sync); 10] =
        [name, key, fold_version, number, &zone, time, &version, &text, &binary, commit_id];
    connections.query("cannot store the snapshot", statement, &parameters).await.map(drop)
}

async fn find(
    connections: &Connections,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Option<Result<SnapshotRow, Unreadable>>, Failure> {
    let rows = connections.query("cannot read", statement, parameters).await?;
    Ok(rows.first().map(SnapshotRow::read))
}

/// Key of the snapshots of one query and one fold version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotKey {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) fold_version: i64,
}

impl SnapshotKey {
    fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.name, &self.key, &self.fold_version]
    }
}

/// Row of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    pub(crate) number: i64,
    pub(crate) zone: u16,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    /// Id of the commit that ends there; `None` if version 1 of the tables stored the snapshot.
    pub(crate) commit_id: Option<Uuid>,
    /// Version of the value.
    pub(crate) version: u32,
    /// `None` for a deleted value.
    pub(crate) value: Option<TextOrBytes>,
}

impl SnapshotRow {
    /// Reads the columns of a snapshot.
    fn read(row: &Row) -> Result<Self, Unreadable> {
        Ok(Self {
            number: row.try_get(0)?,
            zone: row.try_get::<_, i32>(1)?.try_into()?,
            time: row.try_get(2)?,
            version: row.try_get::<_, i64>(3)?.try_into()?,
            value: TextOrBytes::read(row, 4)?,
            commit_id: row.try_get(6)?,
        })
    }
}
