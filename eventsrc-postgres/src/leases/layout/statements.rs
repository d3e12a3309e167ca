//! Statements on leases.

use eventsrc_core::lease::Lease;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::{CheckpointRows, LeaseRow};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::migration::in_schema;

/// Columns of a [`LeaseRow`], in the order in which it reads them.
const COLUMNS: &str = "shard, parents, owner, heir, counter, pulse, checkpoint, sequence_number, part, time";

const LEASES: &str = "SELECT {columns} FROM {schema}.shard_leases_now WHERE fleet = $1 ORDER BY shard";

/// Inserts leases in the order in which rows are locked.
const CREATE: &str = r#"
    INSERT INTO {schema}.shard_leases
        (fleet, shard, parents, counter, checkpoint, sequence_number, part, time)
    SELECT $1, shard, ARRAY(SELECT json_array_elements_text(parents::json)), 0, checkpoint, sequence_number, part, time
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) WITH ORDINALITY
        AS new (shard, parents, checkpoint, sequence_number, part, time, place)
    ORDER BY shard COLLATE "C", place
    ON CONFLICT DO NOTHING"#;

const TAKE: &str = "SELECT {columns} FROM {schema}.take_shard($1, $2, $3, $4, $5, $6, $7)";

const CLAIM: &str = "SELECT {schema}.claim_shard($1, $2, $3, $4)";

const RENEW: &str = "SELECT {columns} FROM {schema}.renew_shards($1, $2, $3, $4, $5, $6, $7, $8)";

const RELEASE: &str = "
    UPDATE {schema}.shard_leases SET counter = counter + 1, heir = NULL,
        owner = CASE WHEN $5::text IS DISTINCT FROM 'end' THEN heir END,
        checkpoint = coalesce($5, checkpoint),
        sequence_number = CASE WHEN $5 IS NULL THEN sequence_number ELSE $6::text END,
        part = CASE WHEN $5 IS NULL THEN part ELSE $7::bigint END,
        time = CASE WHEN $5 IS NULL THEN time ELSE $8::bigint END
    WHERE fleet = $1 AND owner = $2 AND shard = $3 AND counter = $4
    RETURNING 1";

const REMOVE: &str = "
    DELETE FROM {schema}.shard_leases WHERE fleet = $1 AND shard IN (
        SELECT shard FROM {schema}.shard_leases
        WHERE fleet = $1 AND shard = ANY ($2) AND checkpoint = 'end' ORDER BY shard FOR UPDATE
    )";

/// Statements on the leases in one schema.
pub(crate) struct LeaseLayout {
    leases: String,
    create: String,
    take: String,
    claim: String,
    renew: String,
    release: String,
    remove: String,
}

impl LeaseLayout {
    /// Statements for the tables in `schema`.
    pub(crate) fn new(schema: &Identifier) -> Self {
        let fill = |sql: &str| in_schema(&sql.replace("{columns}", COLUMNS), schema);
        Self {
            leases: fill(LEASES),
            create: fill(CREATE),
            take: fill(TAKE),
            claim: fill(CLAIM),
            renew: fill(RENEW),
            release: fill(RELEASE),
            remove: fill(REMOVE),
        }
    }

    /// Returns all leases of a group, sorted by shard.
    pub(in crate::leases) async fn leases(
        &self,
        connections: &Connections,
        fleet: &str,
    ) -> Result<Vec<LeaseRow>, Failure> {
        read(&connections.query("cannot read the leases", &self.leases, &[&fleet]).await?)
    }

    /// Creates the leases that do not exist; `parents` are JSON.
    pub(in crate::leases) async fn create(
        &self,
        connections: &Connections,
        fleet: &str,
        shards: &[&str],
        parents: &[String],
        checkpoints: &CheckpointRows<'_>,
    ) -> Result<(), Failure> {
        let CheckpointRows { kinds, sequence_numbers, parts, times } = checkpoints;
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&fleet, &shards, &parents, kinds, sequence_numbers, parts, times];
        connections.query("cannot create leases", &self.create, &parameters).await.map(drop)
    }

    /// Makes `worker` the owner of a lease. Returns `None` if the lease has changed since it was read as `seen`.
    pub(in crate::leases) async fn take(
        &self,
        connections: &Connections,
        fleet: &str,
        worker: &str,
        seen: &Lease,
        [counter, heartbeat]: [i64; 2],
    ) -> Result<Option<LeaseRow>, Failure> {
        let Lease { shard, owner, next_owner, .. } = seen;
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&fleet, shard, &worker, owner, next_owner, &counter, &heartbeat];
        Ok(read(&connections.query("cannot take the lease", &self.take, &parameters).await?)?.pop())
    }

    /// Makes `worker` the next owner of a lease. Returns false if the lease has another next owner or a new owner.
    pub(in crate::leases) async fn claim(
        &self,
        connections: &Connections,
        fleet: &str,
        worker: &str,
        seen: &Lease,
    ) -> Result<bool, Failure> {
        let parameters: [&(dyn ToSql + Sync); 4] = [&fleet, &seen.shard, &worker, &seen.owner];
        let rows = connections.query("cannot claim the lease", &self.claim, &parameters).await?;
        rows[0].try_get(0).map_err(unreadable)
    }

    /// Renews the leases with these shards and counters. Returns those that `worker` holds, in any order.
    pub(in crate::leases) async fn renew(
        &self,
        connections: &Connections,
        fleet: &str,
        worker: &str,
        (shards, counters): (&[&str], &[i64]),
        checkpoints: &CheckpointRows<'_>,
    ) -> Result<Vec<LeaseRow>, Failure> {
        let CheckpointRows { kinds, sequence_numbers, parts, times } = checkpoints;
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&fleet, &worker, &shards, &counters, kinds, sequence_numbers, parts, times];
        read(&connections.query("cannot renew the leases", &self.renew, &parameters).await?)
    }

    /// Releases a lease. Returns false if `worker` does not hold it.
    pub(in crate::leases) async fn release(
        &self,
        connections: &Connections,
        fleet: &str,
        worker: &str,
        (shard, counter): (&str, i64),
        checkpoint: &CheckpointRows<'_>,
    ) -> Result<bool, Failure> {
        let CheckpointRows { kinds, sequence_numbers, parts, times } = checkpoint;
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&fleet, &worker, &shard, &counter, &kinds[0], &sequence_numbers[0], &parts[0], &times[0]];
        let rows = connections.query("cannot release the lease", &self.release, &parameters).await?;
        Ok(!rows.is_empty())
    }

    /// Deletes the leases of those of the given shards that have ended.
    pub(in crate::leases) async fn remove(
        &self,
        connections: &Connections,
        fleet: &str,
        shards: &[String],
    ) -> Result<(), Failure> {
        connections.query("cannot remove leases", &self.remove, &[&fleet, &shards]).await.map(drop)
    }
}

fn read(rows: &[Row]) -> Result<Vec<LeaseRow>, Failure> {
    rows.iter().map(LeaseRow::read).collect::<Result<_, _>>().map_err(unreadable)
}

fn unreadable(error: tokio_postgres::Error) -> Failure {
    Failure::new("cannot read the leases", error)
}
