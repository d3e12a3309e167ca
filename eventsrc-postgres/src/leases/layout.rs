//! The tables of leases. This file alone knows their names and the SQL.
//!
//! A worker has one row for each group, whatever it holds, and its pulse is that of all its leases: so a renewal writes one row,
//! and those of the leases that have a new checkpoint. A worker's row is locked by whoever renews, and by whoever makes or
//! unmakes it an owner, so that of a renewal and a take one comes first; and whoever makes it an owner or an heir keeps its row
//! from being removed.

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, ShardPosition};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::layout::Unreadable;
use crate::migration::{Part, in_schema};

/// Leases.
pub(crate) const PART: Part = Part { name: "leases", migrations: &[VERSION_1], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.shard_workers (
        pulse bigint NOT NULL,              -- another one with every renewal
        fleet text COLLATE "C" NOT NULL,    -- the group
        worker text COLLATE "C" NOT NULL,
        PRIMARY KEY (fleet, worker)
    ) WITH (fillfactor = 50);
    CREATE TABLE {schema}.shard_leases (
        counter bigint NOT NULL,            -- another one whenever it changes hands
        part bigint,                        -- these three NULL unless the checkpoint is 'after' or 'at'
        time bigint,                        -- microseconds since 1970
        sequence_number text,
        checkpoint text NOT NULL,           -- 'trim horizon', 'latest', 'at', 'after' or 'end'
        fleet text COLLATE "C" NOT NULL,
        shard text COLLATE "C" NOT NULL,
        owner text COLLATE "C",
        heir text COLLATE "C",
        parents text[] NOT NULL,
        PRIMARY KEY (fleet, shard)
    ) WITH (fillfactor = 50);
    CREATE VIEW {schema}.shard_leases_now AS
        SELECT own.fleet, own.shard, own.parents, own.owner, own.heir, own.counter, coalesce(lives.pulse, 0) AS pulse,
            own.checkpoint, own.sequence_number, own.part, own.time
        FROM {schema}.shard_leases AS own
        LEFT JOIN {schema}.shard_workers AS lives ON lives.fleet = own.fleet AND lives.worker = own.owner;
    CREATE FUNCTION {schema}.take_shard(
        of_fleet text, wanted text, taker text, seen_owner text, seen_heir text, seen_counter bigint, seen_pulse bigint
    ) RETURNS SETOF {schema}.shard_leases_now LANGUAGE plpgsql AS $$ BEGIN
        -- In this order, so that two who take from each other do not wait for each other.
        INSERT INTO {schema}.shard_workers AS own (fleet, worker, pulse)
        SELECT DISTINCT of_fleet, names.name COLLATE "C", 0 FROM unnest(ARRAY[taker, seen_owner]) AS names (name)
        WHERE names.name IS NOT NULL ORDER BY 2
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
        UPDATE {schema}.shard_leases AS own SET owner = taker, heir = NULL, counter = seen_counter + 1
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter
            AND own.owner IS NOT DISTINCT FROM seen_owner AND own.heir IS NOT DISTINCT FROM seen_heir
            AND own.checkpoint <> 'end' AND (seen_owner IS NULL OR seen_pulse = (
                SELECT lives.pulse FROM {schema}.shard_workers AS lives
                WHERE lives.fleet = of_fleet AND lives.worker = seen_owner
            ));
        -- Also if it was taken before, and the answer was lost.
        RETURN QUERY SELECT own.* FROM {schema}.shard_leases_now AS own
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter + 1
            AND own.owner = taker AND own.heir IS NULL;
    END $$;
    CREATE FUNCTION {schema}.claim_shard(of_fleet text, wanted text, claimer text, seen_owner text)
    RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO {schema}.shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, claimer, 0)
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
        UPDATE {schema}.shard_leases AS own SET heir = claimer
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir IS NULL;
        RETURN EXISTS (
            SELECT 1 FROM {schema}.shard_leases AS own
            WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir = claimer
        );
    END $$;
    CREATE FUNCTION {schema}.renew_shards(
        of_fleet text, renewer text, shards text[], counters bigint[],
        checkpoints text[], sequence_numbers text[], parts bigint[], times bigint[]
    ) RETURNS SETOF {schema}.shard_leases_now LANGUAGE plpgsql AS $$ DECLARE
        moved bigint;
        idle text[];
    BEGIN
        INSERT INTO {schema}.shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, renewer, 1)
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse + 1 RETURNING own.pulse INTO moved;
        UPDATE {schema}.shard_leases AS own SET checkpoint = brought.checkpoint,
            sequence_number = brought.sequence_number, part = brought.part, time = brought.time,
            owner = CASE WHEN brought.checkpoint <> 'end' THEN own.owner END,
            heir = CASE WHEN brought.checkpoint <> 'end' THEN own.heir END,
            counter = own.counter + CASE WHEN brought.checkpoint = 'end' THEN 1 ELSE 0 END
        FROM unnest(shards, counters, checkpoints, sequence_numbers, parts, times)
            AS brought (shard, counter, checkpoint, sequence_number, part, time)
        WHERE own.fleet = of_fleet AND own.shard = brought.shard AND own.owner = renewer
            AND own.counter = brought.counter AND brought.checkpoint IS NOT NULL;
        RETURN QUERY SELECT own.* FROM unnest(shards, counters, checkpoints) AS asked (shard, counter, checkpoint)
        JOIN {schema}.shard_leases_now AS own ON own.fleet = of_fleet AND own.shard = asked.shard
        WHERE own.owner = renewer AND own.counter = asked.counter
            OR own.checkpoint = 'end' AND asked.checkpoint = 'end';
        IF moved % 64 = 0 THEN
            -- Rows of workers that have nothing. If one of them lives all the same, it has a row again when it next renews.
            SELECT array_agg(free.worker) INTO idle FROM (
                SELECT own.worker FROM {schema}.shard_workers AS own
                WHERE own.fleet = of_fleet AND own.worker <> renewer AND NOT EXISTS (
                    SELECT 1 FROM {schema}.shard_leases AS held
                    WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
                ) FOR UPDATE SKIP LOCKED
            ) AS free;
            -- Looked at again now that nobody can make them owners or heirs.
            DELETE FROM {schema}.shard_workers AS own
            WHERE own.fleet = of_fleet AND own.worker = ANY (idle) AND NOT EXISTS (
                SELECT 1 FROM {schema}.shard_leases AS held
                WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
            );
        END IF;
    END $$;
"#;

const GRANTS: &str = "
    REVOKE ALL ON {schema}.shard_workers, {schema}.shard_leases, {schema}.shard_leases_now FROM {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.shard_workers, {schema}.shard_leases TO {role};
    GRANT SELECT ON {schema}.shard_leases_now TO {role};
    GRANT EXECUTE ON FUNCTION {schema}.take_shard, {schema}.claim_shard, {schema}.renew_shards TO {role};
";

/// The columns of a [`LeaseRow`].
const COLUMNS: &str = "shard, parents, owner, heir, counter, pulse, checkpoint, sequence_number, part, time";

const LEASES: &str = "SELECT {columns} FROM {schema}.shard_leases_now WHERE fleet = $1 ORDER BY shard";

/// The order is that in which rows are locked.
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

/// The statements, for the tables of one schema.
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
    /// The statements for the tables in `schema`.
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

    /// All leases of a group.
    pub(super) async fn leases(
        &self,
        connections: &Connections,
        fleet: &str,
    ) -> Result<Vec<LeaseRow>, Failure> {
        read(&connections.query("cannot read the leases", &self.leases, &[&fleet]).await?)
    }

    /// Makes leases where there are none; `parents` are JSON.
    pub(super) async fn create(
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

    /// Takes a lease that is as it was seen.
    pub(super) async fn take(
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

    /// Names an heir.
    pub(super) async fn claim(
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

    /// Renews leases, which are shards and counters; gives those that are held, in any order.
    pub(super) async fn renew(
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

    /// Gives up a lease.
    pub(super) async fn release(
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

    /// Removes the leases of shards that ended.
    pub(super) async fn remove(
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

/// A lease as it lies in its row, with the pulse of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRow {
    shard: String,
    parents: Vec<String>,
    owner: Option<String>,
    next_owner: Option<String>,
    counter: i64,
    heartbeat: i64,
    checkpoint: String,
    sequence_number: Option<String>,
    part: Option<i64>,
    time: Option<i64>,
}

impl LeaseRow {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            shard: row.try_get(0)?,
            parents: row.try_get(1)?,
            owner: row.try_get(2)?,
            next_owner: row.try_get(3)?,
            counter: row.try_get(4)?,
            heartbeat: row.try_get(5)?,
            checkpoint: row.try_get(6)?,
            sequence_number: row.try_get(7)?,
            part: row.try_get(8)?,
            time: row.try_get(9)?,
        })
    }

    /// The lease, or what of it is not as it was written.
    pub(super) fn into_lease(self) -> Result<Lease, Unreadable> {
        let time = self.time.map(Timestamp::from_microsecond).transpose()?;
        let checkpoint = match (&*self.checkpoint, self.sequence_number, self.part, time) {
            ("trim horizon", None, None, None) => Checkpoint::TrimHorizon,
            ("latest", None, None, None) => Checkpoint::Latest,
            ("end", None, None, None) => Checkpoint::End,
            ("at", None, None, Some(time)) => Checkpoint::At(time),
            ("after", Some(number), Some(part), time) => Checkpoint::After(ShardPosition {
                sequence_number: number.into(),
                part: part.try_into()?,
                time,
            }),
            (other, ..) => return Err(format!("the checkpoint {other:?} is none").into()),
        };
        Ok(Lease {
            shard: self.shard,
            parents: self.parents,
            owner: self.owner,
            next_owner: self.next_owner,
            counter: self.counter.try_into()?,
            heartbeat: self.heartbeat.try_into()?,
            checkpoint,
        })
    }
}

/// Checkpoints, column by column; one that is not there is NULL.
#[derive(Debug, Default)]
pub(super) struct CheckpointRows<'a> {
    kinds: Vec<Option<&'static str>>,
    sequence_numbers: Vec<Option<&'a str>>,
    parts: Vec<Option<i64>>,
    times: Vec<Option<i64>>,
}

impl<'a> CheckpointRows<'a> {
    /// These checkpoints.
    ///
    /// # Errors
    ///
    /// If the number of a part is larger than Postgres can hold.
    pub(super) fn new(
        checkpoints: impl IntoIterator<Item = Option<&'a Checkpoint>>,
    ) -> Result<Self, std::num::TryFromIntError> {
        let mut rows = Self::default();
        for checkpoint in checkpoints {
            let (kind, place, time) = match checkpoint {
                None => (None, None, None),
                Some(Checkpoint::TrimHorizon) => (Some("trim horizon"), None, None),
                Some(Checkpoint::Latest) => (Some("latest"), None, None),
                Some(Checkpoint::At(time)) => (Some("at"), None, Some(time)),
                Some(Checkpoint::After(place)) => (Some("after"), Some(place), place.time.as_ref()),
                Some(Checkpoint::End) => (Some("end"), None, None),
            };
            rows.kinds.push(kind);
            rows.sequence_numbers.push(place.map(|place| &*place.sequence_number));
            rows.parts.push(place.map(|place| place.part.try_into()).transpose()?);
            rows.times.push(time.map(|time| time.as_microsecond()));
        }
        Ok(rows)
    }
}
