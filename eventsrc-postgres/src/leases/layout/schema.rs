//! Definitions and privileges of the tables of leases.

use crate::migration::Part;

/// Tables of leases.
pub(crate) const PART: Part = Part { name: "leases", migrations: &[VERSION_1], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.shard_workers (
        pulse bigint NOT NULL,              -- heartbeat: changes with every renewal
        fleet text COLLATE "C" NOT NULL,    -- the group
        worker text COLLATE "C" NOT NULL,
        PRIMARY KEY (fleet, worker)
    ) WITH (fillfactor = 50);
    CREATE TABLE {schema}.shard_leases (
        counter bigint NOT NULL,            -- changes with the owner
        part bigint,                        -- this and the next two: NULL unless the checkpoint is 'after' or 'at'
        time bigint,                        -- microseconds since 1970
        sequence_number text,
        checkpoint text NOT NULL,           -- 'trim horizon', 'latest', 'at', 'after' or 'end'
        fleet text COLLATE "C" NOT NULL,
        shard text COLLATE "C" NOT NULL,
        owner text COLLATE "C",
        heir text COLLATE "C",              -- next owner
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
        -- Sorted, so that two workers that take from each other do not deadlock.
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
        -- Also returns the lease if an earlier take succeeded and its reply was lost.
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
            -- Workers without leases. If one of them is alive, its next renewal inserts its row again.
            SELECT array_agg(free.worker) INTO idle FROM (
                SELECT own.worker FROM {schema}.shard_workers AS own
                WHERE own.fleet = of_fleet AND own.worker <> renewer AND NOT EXISTS (
                    SELECT 1 FROM {schema}.shard_leases AS held
                    WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
                ) FOR UPDATE SKIP LOCKED
            ) AS free;
            -- Checked again, now that the locks prevent that they become owners or next owners.
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
