
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA eventsrc;

CREATE FUNCTION eventsrc.claim_shard(of_fleet text, wanted text, claimer text, seen_owner text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$ BEGIN
        INSERT INTO "eventsrc".shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, claimer, 0)
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
        UPDATE "eventsrc".shard_leases AS own SET heir = claimer
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir IS NULL;
        RETURN EXISTS (
            SELECT 1 FROM "eventsrc".shard_leases AS own
            WHERE own.fleet = of_fleet AND own.shard = wanted AND own.owner = seen_owner AND own.heir = claimer
        );
    END $$;

CREATE FUNCTION eventsrc.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
        BEGIN
            RAISE EXCEPTION 'stored commits are never changed' USING ERRCODE = 'insufficient_privilege';
        END
    $$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE eventsrc.shard_leases (
    counter bigint NOT NULL,
    part bigint,
    "time" bigint,
    sequence_number text,
    checkpoint text NOT NULL,
    fleet text NOT NULL COLLATE pg_catalog."C",
    shard text NOT NULL COLLATE pg_catalog."C",
    owner text COLLATE pg_catalog."C",
    heir text COLLATE pg_catalog."C",
    parents text[] NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE eventsrc.shard_workers (
    pulse bigint NOT NULL,
    fleet text NOT NULL COLLATE pg_catalog."C",
    worker text NOT NULL COLLATE pg_catalog."C"
)
WITH (fillfactor='50');

CREATE VIEW eventsrc.shard_leases_now AS
 SELECT own.fleet,
    own.shard,
    own.parents,
    own.owner,
    own.heir,
    own.counter,
    COALESCE(lives.pulse, (0)::bigint) AS pulse,
    own.checkpoint,
    own.sequence_number,
    own.part,
    own."time"
   FROM (eventsrc.shard_leases own
     LEFT JOIN eventsrc.shard_workers lives ON (((lives.fleet = own.fleet) AND (lives.worker = own.owner))));

CREATE FUNCTION eventsrc.renew_shards(of_fleet text, renewer text, shards text[], counters bigint[], checkpoints text[], sequence_numbers text[], parts bigint[], times bigint[]) RETURNS SETOF eventsrc.shard_leases_now
    LANGUAGE plpgsql
    AS $$ DECLARE
        moved bigint;
        idle text[];
    BEGIN
        INSERT INTO "eventsrc".shard_workers AS own (fleet, worker, pulse) VALUES (of_fleet, renewer, 1)
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse + 1 RETURNING own.pulse INTO moved;
        UPDATE "eventsrc".shard_leases AS own SET checkpoint = brought.checkpoint,
            sequence_number = brought.sequence_number, part = brought.part, time = brought.time,
            owner = CASE WHEN brought.checkpoint <> 'end' THEN own.owner END,
            heir = CASE WHEN brought.checkpoint <> 'end' THEN own.heir END,
            counter = own.counter + CASE WHEN brought.checkpoint = 'end' THEN 1 ELSE 0 END
        FROM unnest(shards, counters, checkpoints, sequence_numbers, parts, times)
            AS brought (shard, counter, checkpoint, sequence_number, part, time)
        WHERE own.fleet = of_fleet AND own.shard = brought.shard AND own.owner = renewer
            AND own.counter = brought.counter AND brought.checkpoint IS NOT NULL;
        RETURN QUERY SELECT own.* FROM unnest(shards, counters, checkpoints) AS asked (shard, counter, checkpoint)
        JOIN "eventsrc".shard_leases_now AS own ON own.fleet = of_fleet AND own.shard = asked.shard
        WHERE own.owner = renewer AND own.counter = asked.counter
            OR own.checkpoint = 'end' AND asked.checkpoint = 'end';
        IF moved % 64 = 0 THEN
            -- Workers without leases. If one of them is alive, its next renewal inserts its row again.
            SELECT array_agg(free.worker) INTO idle FROM (
                SELECT own.worker FROM "eventsrc".shard_workers AS own
                WHERE own.fleet = of_fleet AND own.worker <> renewer AND NOT EXISTS (
                    SELECT 1 FROM "eventsrc".shard_leases AS held
                    WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
                ) FOR UPDATE SKIP LOCKED
            ) AS free;
            -- Checked again, now that the locks prevent that they become owners or next owners.
            DELETE FROM "eventsrc".shard_workers AS own
            WHERE own.fleet = of_fleet AND own.worker = ANY (idle) AND NOT EXISTS (
                SELECT 1 FROM "eventsrc".shard_leases AS held
                WHERE held.fleet = of_fleet AND own.worker IN (held.owner, held.heir)
            );
        END IF;
    END $$;

CREATE FUNCTION eventsrc.take_shard(of_fleet text, wanted text, taker text, seen_owner text, seen_heir text, seen_counter bigint, seen_pulse bigint) RETURNS SETOF eventsrc.shard_leases_now
    LANGUAGE plpgsql
    AS $$ BEGIN
        -- Sorted, so that two workers that take from each other do not deadlock.
        INSERT INTO "eventsrc".shard_workers AS own (fleet, worker, pulse)
        SELECT DISTINCT of_fleet, names.name COLLATE "C", 0 FROM unnest(ARRAY[taker, seen_owner]) AS names (name)
        WHERE names.name IS NOT NULL ORDER BY 2
        ON CONFLICT (fleet, worker) DO UPDATE SET pulse = own.pulse;
        UPDATE "eventsrc".shard_leases AS own SET owner = taker, heir = NULL, counter = seen_counter + 1
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter
            AND own.owner IS NOT DISTINCT FROM seen_owner AND own.heir IS NOT DISTINCT FROM seen_heir
            AND own.checkpoint <> 'end' AND (seen_owner IS NULL OR seen_pulse = (
                SELECT lives.pulse FROM "eventsrc".shard_workers AS lives
                WHERE lives.fleet = of_fleet AND lives.worker = seen_owner
            ));
        -- Also returns the lease if an earlier take succeeded and its reply was lost.
        RETURN QUERY SELECT own.* FROM "eventsrc".shard_leases_now AS own
        WHERE own.fleet = of_fleet AND own.shard = wanted AND own.counter = seen_counter + 1
            AND own.owner = taker AND own.heir IS NULL;
    END $$;

CREATE FUNCTION eventsrc.view_places(version integer, streams text[]) RETURNS TABLE(number bigint, zone integer, stopped boolean, place bigint)
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $_$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stopped IS NOT NULL, asked.place
            FROM unnest($2) WITH ORDINALITY AS asked (stream, place)
            LEFT JOIN "eventsrc".view_positions AS own ON own.version = $1 AND own.stream = asked.stream;
        END $_$;

CREATE FUNCTION eventsrc.view_positions_after(version integer, after text, most bigint) RETURNS TABLE(number bigint, zone integer, stream text)
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $_$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stream::text FROM "eventsrc".view_positions AS own
            WHERE own.version = $1 AND own.stream > $2 AND own.number IS NOT NULL ORDER BY own.stream LIMIT $3;
        END $_$;

CREATE TABLE eventsrc.cached (
    name text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    fold_version bigint NOT NULL,
    number bigint NOT NULL,
    zone integer NOT NULL,
    "time" bigint NOT NULL,
    version bigint NOT NULL,
    value_text text,
    value_bytes bytea
);

CREATE TABLE eventsrc.commits (
    number bigint NOT NULL,
    "time" bigint NOT NULL,
    version bigint NOT NULL,
    zone integer NOT NULL,
    count integer NOT NULL,
    bucket smallint NOT NULL,
    commit_id uuid NOT NULL,
    category text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    payload_text text,
    payload_bytes bytea,
    lengths bytea,
    metadata text
);

CREATE TABLE eventsrc.epochs (
    name text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    fold_version bigint NOT NULL,
    number bigint NOT NULL,
    zone integer NOT NULL,
    "time" bigint NOT NULL,
    version bigint NOT NULL,
    value_text text,
    value_bytes bytea
);

CREATE TABLE eventsrc.versions (
    part text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE eventsrc.view_nothing (
    number integer NOT NULL
);

CREATE TABLE eventsrc.view_positions (
    number bigint,
    expected_number bigint,
    version integer NOT NULL,
    zone integer,
    expected_zone integer,
    stopped boolean,
    stream text NOT NULL COLLATE pg_catalog."C"
)
WITH (fillfactor='80');

CREATE TABLE eventsrc.view_quarantine (
    number bigint NOT NULL,
    "time" bigint NOT NULL,
    version integer NOT NULL,
    zone integer NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    error text NOT NULL
);

CREATE TABLE eventsrc.view_skips (
    number bigint NOT NULL,
    from_number bigint,
    "time" bigint NOT NULL,
    version integer NOT NULL,
    zone integer NOT NULL,
    from_zone integer,
    stream text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL
);

CREATE UNLOGGED TABLE eventsrc.view_unfinished (
    number integer NOT NULL
);

CREATE TABLE eventsrc.view_versions (
    id integer NOT NULL,
    version bigint NOT NULL,
    serves boolean NOT NULL,
    view text NOT NULL COLLATE pg_catalog."C",
    tables text[] NOT NULL
);

ALTER TABLE eventsrc.view_versions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME eventsrc.view_versions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

INSERT INTO eventsrc.cached VALUES ('count', '"user/1"', 1, 3, 0, 1796098299580598, 1, '3', NULL);

INSERT INTO eventsrc.commits VALUES (1, 1796098299566610, 1, 0, 1, 232, '01a22fcd-16ac-7ee9-86e8-cd469905b6ad', 'user', '1', '["Ada"]', NULL, NULL, NULL);
INSERT INTO eventsrc.commits VALUES (2, 1796098299580598, 1, 0, 2, 232, '01a22fcd-16bc-704f-92ab-8aa0a7db6b2f', 'user', '1', '["Ada Lovelace","Countess"]', NULL, '\x0e0a', '{"commit_id":"01a22fcd-16bc-704f-92ab-8aa0a7db6b2f","correlation_id":"request 9","actor":"admin"}');
INSERT INTO eventsrc.commits VALUES (1, 1796098299584868, 1, 0, 1, 768, '01a22fcd-16c0-720c-85b5-d887cf7729a8', 'group', 'readers', '["é🙂\"''"]', NULL, NULL, NULL);
INSERT INTO eventsrc.commits VALUES (4, 1796098299604052, 1, 0, 1, 232, '01a22fcd-16d3-792d-bd3b-803682b56d8e', 'user', '1', '["after the snapshot"]', NULL, NULL, NULL);

INSERT INTO eventsrc.epochs VALUES ('count', '"user/1"', 1, 3, 0, 1796098299580598, 1, '3', NULL);

INSERT INTO eventsrc.versions VALUES ('events', 1);
INSERT INTO eventsrc.versions VALUES ('views', 1);
INSERT INTO eventsrc.versions VALUES ('leases', 1);

SELECT pg_catalog.setval('eventsrc.view_versions_id_seq', 1, false);

ALTER TABLE ONLY eventsrc.cached
    ADD CONSTRAINT cached_pkey PRIMARY KEY (name, key, fold_version);

ALTER TABLE ONLY eventsrc.commits
    ADD CONSTRAINT commits_pkey PRIMARY KEY (bucket, category, id, number);

ALTER TABLE ONLY eventsrc.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (name, key, fold_version, number, zone);

ALTER TABLE ONLY eventsrc.shard_leases
    ADD CONSTRAINT shard_leases_pkey PRIMARY KEY (fleet, shard);

ALTER TABLE ONLY eventsrc.shard_workers
    ADD CONSTRAINT shard_workers_pkey PRIMARY KEY (fleet, worker);

ALTER TABLE ONLY eventsrc.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (part);

ALTER TABLE ONLY eventsrc.view_nothing
    ADD CONSTRAINT view_nothing_pkey PRIMARY KEY (number);

ALTER TABLE ONLY eventsrc.view_positions
    ADD CONSTRAINT view_positions_pkey PRIMARY KEY (version, stream);

ALTER TABLE ONLY eventsrc.view_quarantine
    ADD CONSTRAINT view_quarantine_pkey PRIMARY KEY (version, stream);

ALTER TABLE ONLY eventsrc.view_skips
    ADD CONSTRAINT view_skips_pkey PRIMARY KEY (version, stream, number, zone);

ALTER TABLE ONLY eventsrc.view_versions
    ADD CONSTRAINT view_versions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY eventsrc.view_versions
    ADD CONSTRAINT view_versions_view_version_key UNIQUE (view, version);

CREATE UNIQUE INDEX view_serving ON eventsrc.view_versions USING btree (view) WHERE serves;

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON eventsrc.commits FOR EACH STATEMENT EXECUTE FUNCTION eventsrc.refuse_change();

ALTER TABLE ONLY eventsrc.view_unfinished
    ADD CONSTRAINT the_code_of_a_view_must_not_end_its_transaction FOREIGN KEY (number) REFERENCES eventsrc.view_nothing(number) DEFERRABLE INITIALLY DEFERRED;

