-- A database as version 1 of the tables of leases was written. It stays as it is for good.
CREATE SCHEMA eventsrc;
CREATE TABLE eventsrc.versions (part text PRIMARY KEY, version integer NOT NULL);
INSERT INTO eventsrc.versions VALUES ('leases', 1);
CREATE TABLE eventsrc.shard_workers (
    pulse bigint NOT NULL,              -- another one with every renewal
    fleet text COLLATE "C" NOT NULL,    -- the group
    worker text COLLATE "C" NOT NULL,
    PRIMARY KEY (fleet, worker)
) WITH (fillfactor = 50);
CREATE TABLE eventsrc.shard_leases (
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
CREATE VIEW eventsrc.shard_leases_now AS
    SELECT own.fleet, own.shard, own.parents, own.owner, own.heir, own.counter, coalesce(lives.pulse, 0) AS pulse,
        own.checkpoint, own.sequence_number, own.part, own.time
    FROM eventsrc.shard_leases AS own
    LEFT JOIN eventsrc.shard_workers AS lives ON lives.fleet = own.fleet AND lives.worker = own.owner;
CREATE FUNCTION eventsrc.take_shard(
    of_fleet text, wanted text, taker text, seen_owner text, seen_heir text, seen_counter bigint, seen_pulse bigint
) RETURNS SETOF eventsrc.shard_leases_now LANGUAGE plpgsql AS $$ BEGIN
    -- In this order, so that two who take from each other do not wait for each other.
    INSERT INTO eventsrc.shard_workers AS own (fleet, worker, pulse)
    SELECT DISTINCT of_fleet, names.name COLLATE "C", 0 FROM unnest(ARRAY[taker, seen_owner]) AS names (name)
    WHERE names.name IS NOT NULL ORDER BY 2
    ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
    UPDATE eventsrc.shard_leases AS own SET owner = taker, heir = NULL, counter = seen_counter + 1
    WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter
        AND own.owner IS NOT DISTINCT FROM seen_owner AND own.heir IS NOT DISTINCT FROM seen_heir
        AND own.checkpoint <> 'end' AND (seen_owner IS NULL OR seen_pulse = (
            SELECT lives.pulse FROM eventsrc.shard_workers AS lives
            WHERE lives.fleet = of_fleet AND lives.worker = seen_owner
        ));
    -- Also if it was taken before, and the answer was lost.
    RETURN QUERY SELECT own.* FROM eventsrc.shard_leases_now AS own
    WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter + 1
        AND own.owner = taker AND own.heir IS NULL;
END $$;
CREATE FUNCTION eventsrc.claim_shard(of_fleet text, wanted text, claimer text, seen_owner text)
RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO eventsrc.shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, claimer, 0)
    ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
    UPDATE eventsrc.shard_leases AS own SET heir = claimer
    WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir IS NULL;
    RETURN EXISTS (
        SELECT 1 FROM eventsrc.shard_leases AS own
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir = claimer
    );
END $$;
CREATE FUNCTION eventsrc.renew_shards(
    of_fleet text, renewer text, shards text[], counters bigint[],
    checkpoints text[], sequence_numbers text[], parts bigint[], times bigint[]
) RETURNS SETOF eventsrc.shard_leases_now LANGUAGE plpgsql AS $$ DECLARE
    moved bigint;
    idle text[];
BEGIN
    INSERT INTO eventsrc.shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, renewer, 1)
    ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse + 1 RETURNING own.pulse INTO moved;
    UPDATE eventsrc.shard_leases AS own SET checkpoint = brought.checkpoint,
        sequence_number = brought.sequence_number, part = brought.part, time = brought.time,
        owner = CASE WHEN brought.checkpoint <> 'end' THEN own.owner END,
        heir = CASE WHEN brought.checkpoint <> 'end' THEN own.heir END,
        counter = own.counter + CASE WHEN brought.checkpoint = 'end' THEN 1 ELSE 0 END
    FROM unnest(shards, counters, checkpoints, sequence_numbers, parts, times)
        AS brought (shard, counter, checkpoint, sequence_number, part, time)
    WHERE own.fleet = of_fleet AND own.shard = brought.shard AND own.owner = renewer
        AND own.counter = brought.counter AND brought.checkpoint IS NOT NULL;
    RETURN QUERY SELECT own.* FROM unnest(shards, counters, checkpoints) AS asked (shard, counter, checkpoint)
    JOIN eventsrc.shard_leases_now AS own ON own.fleet = of_fleet AND own.shard = asked.shard
    WHERE own.owner = renewer AND own.counter = asked.counter
        OR own.checkpoint = 'end' AND asked.checkpoint = 'end';
    IF moved % 64 = 0 THEN
        -- Rows of workers that have nothing. If one of them lives all the same, it has a row again when it next renews.
        SELECT array_agg(free.worker) INTO idle FROM (
            SELECT own.worker FROM eventsrc.shard_workers AS own
            WHERE own.fleet = of_fleet AND own.worker <> renewer AND NOT EXISTS (
                SELECT 1 FROM eventsrc.shard_leases AS held
                WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
            ) FOR UPDATE SKIP LOCKED
        ) AS free;
        -- Looked at again now that nobody can make them owners or heirs.
        DELETE FROM eventsrc.shard_workers AS own
        WHERE own.fleet = of_fleet AND own.worker = ANY (idle) AND NOT EXISTS (
            SELECT 1 FROM eventsrc.shard_leases AS held
            WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
        );
    END IF;
END $$;
INSERT INTO eventsrc.shard_workers (fleet, worker, pulse) VALUES
    ('orders', 'worker 1', 17), ('orders', 'worker 2', 0), ('another', 'worker 1', 99);
INSERT INTO eventsrc.shard_leases
    (fleet, shard, parents, owner, heir, counter, checkpoint, sequence_number, part, time) VALUES
    ('orders', 'shardId-000000000000', '{}', NULL, NULL, 4, 'end', NULL, NULL, NULL),
    ('orders', 'shardId-000000000001', '{shardId-000000000000}', 'worker 1', 'worker 2', 3, 'after',
        '49590338271490256608559692538361571095921575989136588898', 2, 1767225600000001),
    ('orders', 'shardId-000000000002', '{shardId-000000000000,shardId-00000000000a}', 'worker 1', NULL, 1, 'after', '17', 0, NULL),
    ('orders', 'shardId-000000000003', '{}', NULL, NULL, 0, 'trim horizon', NULL, NULL, NULL),
    ('orders', 'shardId-000000000004', '{}', NULL, NULL, 0, 'latest', NULL, NULL, NULL),
    ('orders', 'shardId-000000000005', '{}', NULL, NULL, 0, 'at', NULL, NULL, 1767225600000002),
    ('another', 'shardId-000000000000', '{}', 'worker 1', NULL, 1, 'latest', NULL, NULL, NULL);
