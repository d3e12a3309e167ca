-- A database as version 1 of the views' tables was written. It stays as it is for good; `{place}` is the schema of a view's own
-- tables.
CREATE SCHEMA {place}_eventsrc;
CREATE TABLE {place}_eventsrc.versions (part text PRIMARY KEY, version integer NOT NULL);
INSERT INTO {place}_eventsrc.versions VALUES ('views', 1);
CREATE TABLE {place}_eventsrc.view_versions (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version bigint NOT NULL,
    serves boolean NOT NULL,            -- true for the one that readers see
    view text COLLATE "C" NOT NULL,
    tables text[] NOT NULL,             -- public names
    UNIQUE (view, version)
);
CREATE UNIQUE INDEX view_serving ON {place}_eventsrc.view_versions (view) WHERE serves;
CREATE TABLE {place}_eventsrc.view_positions (
    number bigint,                      -- NULL before the first event
    expected_number bigint,             -- always NULL: what a statement that moves expects, for itself
    version integer NOT NULL,
    zone integer,
    expected_zone integer,
    stopped boolean,                    -- true in quarantine, else NULL
    stream text COLLATE "C" NOT NULL,   -- category/id
    PRIMARY KEY (version, stream)
) WITH (fillfactor = 80);
CREATE TABLE {place}_eventsrc.view_quarantine (
    number bigint NOT NULL,             -- of the commit that cannot be applied
    time bigint NOT NULL,               -- microseconds since 1970
    version integer NOT NULL,
    zone integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (version, stream)
);
CREATE TABLE {place}_eventsrc.view_skips (
    number bigint NOT NULL,             -- where it left the position
    from_number bigint,                 -- NULL before the first event
    time bigint NOT NULL,
    version integer NOT NULL,
    zone integer NOT NULL,
    from_zone integer,
    stream text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (version, stream, number, zone)
);
-- Rows that refer to nothing: a transaction cannot be committed before it has removed its own.
CREATE TABLE {place}_eventsrc.view_nothing (number integer PRIMARY KEY);
CREATE UNLOGGED TABLE {place}_eventsrc.view_unfinished (
    number integer NOT NULL CONSTRAINT the_code_of_a_view_must_not_end_its_transaction
        REFERENCES {place}_eventsrc.view_nothing DEFERRABLE INITIALLY DEFERRED
);
-- A plan that was made while the table was small is kept for a while, so it must be one for any size; to make one for
-- each call takes longer than to read.
CREATE FUNCTION {place}_eventsrc.view_places(version integer, streams text[])
    RETURNS TABLE (number bigint, zone integer, stopped boolean, place bigint) LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$ BEGIN
        RETURN QUERY SELECT own.number, own.zone, own.stopped IS NOT NULL, asked.place
        FROM unnest($2) WITH ORDINALITY AS asked (stream, place)
        LEFT JOIN {place}_eventsrc.view_positions AS own ON own.version = $1 AND own.stream = asked.stream;
    END $$;
CREATE FUNCTION {place}_eventsrc.view_positions_after(version integer, after text, most bigint)
    RETURNS TABLE (number bigint, zone integer, stream text) LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    AS $$ BEGIN
        RETURN QUERY SELECT own.number, own.zone, own.stream::text FROM {place}_eventsrc.view_positions AS own
        WHERE own.version = $1 AND own.stream > $2 AND own.number IS NOT NULL ORDER BY own.stream LIMIT $3;
    END $$;

INSERT INTO {place}_eventsrc.view_versions (view, version, serves, tables)
VALUES ('lines', 1, true, '{lines}'), ('lines', 2, false, '{lines}');
INSERT INTO {place}_eventsrc.view_positions (version, stream, number, zone, stopped) VALUES
    (1, 'line/1', 1, 0, true), (1, 'line/4', NULL, NULL, true), (1, 'line/5', NULL, NULL, NULL),
    (2, 'line/1', 3, 0, NULL), (2, 'line/2', 1, 0, NULL), (2, 'line/3', 4, 0, NULL);
INSERT INTO {place}_eventsrc.view_quarantine (version, stream, number, zone, error, time) VALUES
    (1, 'line/1', 2, 0, 'no such line', 1767225602000000),
    (1, 'line/4', 1, 0, 'a␀b', 1767225602000001),
    (2, 'line/3', 3, 0, 'left over', 1767225602000002);
INSERT INTO {place}_eventsrc.view_skips (version, stream, from_number, from_zone, number, zone, reason, time) VALUES
    (2, 'line/3', 2, 0, 4, 0, 'too late', 1767225604000001),
    (2, 'line/2', NULL, NULL, 1, 0, 'of no use', 1767225603000000);

CREATE TABLE lines_v1 (
    stream text PRIMARY KEY,
    text text NOT NULL CHECK (text <> 'forbidden'),
    parent text REFERENCES lines_v1 (stream) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE lines_v2 (
    stream text PRIMARY KEY,
    text text NOT NULL CHECK (text <> 'forbidden'),
    parent text REFERENCES lines_v2 (stream) DEFERRABLE INITIALLY DEFERRED
);
CREATE VIEW lines AS SELECT * FROM lines_v1;
INSERT INTO lines_v1 VALUES ('line/1', 'a', NULL);
INSERT INTO lines_v2 VALUES ('line/1', 'a b c', NULL), ('line/3', 'd', 'line/1');
