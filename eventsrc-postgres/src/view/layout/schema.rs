//! Definitions and privileges of the tables of views.

use crate::migration::Part;

/// Tables of views.
pub(crate) const PART: Part = Part { name: "views", migrations: &[VERSION_1, VERSION_2], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.view_versions (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        version bigint NOT NULL,
        serves boolean NOT NULL,            -- true for the one that readers see
        view text COLLATE "C" NOT NULL,
        tables text[] NOT NULL,             -- public names
        UNIQUE (view, version)
    );
    CREATE UNIQUE INDEX view_serving ON {schema}.view_versions (view) WHERE serves;
    CREATE TABLE {schema}.view_positions (
        number bigint,                      -- NULL before the first event
        expected_number bigint,             -- always NULL; for statements that change positions
        version integer NOT NULL,
        zone integer,
        expected_zone integer,
        stopped boolean,                    -- true in quarantine, else NULL
        stream text COLLATE "C" NOT NULL,   -- category/id
        PRIMARY KEY (version, stream)
    ) WITH (fillfactor = 80);
    CREATE TABLE {schema}.view_quarantine (
        number bigint NOT NULL,             -- of the first event of the commit
        time bigint NOT NULL,               -- microseconds since 1970
        version integer NOT NULL,
        zone integer NOT NULL,
        stream text COLLATE "C" NOT NULL,
        error text NOT NULL,
        PRIMARY KEY (version, stream)
    );
    CREATE TABLE {schema}.view_skips (
        number bigint NOT NULL,             -- position after the skip
        from_number bigint,                 -- position before the skip; NULL before the first event
        time bigint NOT NULL,               -- microseconds since 1970
        version integer NOT NULL,
        zone integer NOT NULL,
        from_zone integer,
        stream text COLLATE "C" NOT NULL,
        reason text NOT NULL,
        PRIMARY KEY (version, stream, number, zone)
    );
    -- Always empty. Rows of view_unfinished refer to it, so a transaction cannot commit before it deletes its own row.
    CREATE TABLE {schema}.view_nothing (number integer PRIMARY KEY);
    CREATE UNLOGGED TABLE {schema}.view_unfinished (
        number integer NOT NULL CONSTRAINT the_code_of_a_view_must_not_end_its_transaction
            REFERENCES {schema}.view_nothing DEFERRABLE INITIALLY DEFERRED
    );
    -- Postgres may keep a plan that it made while the table was small, so both functions force a plan for any size.
    -- Planning each call takes longer than reading.
    CREATE FUNCTION {schema}.view_places(version integer, streams text[])
        RETURNS TABLE (number bigint, zone integer, stopped boolean, place bigint) LANGUAGE plpgsql STABLE
        SET plan_cache_mode = force_generic_plan
        SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
        AS $$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stopped IS NOT NULL, asked.place
            FROM unnest($2) WITH ORDINALITY AS asked (stream, place)
            LEFT JOIN {schema}.view_positions AS own ON own.version = $1 AND own.stream = asked.stream;
        END $$;
    CREATE FUNCTION {schema}.view_positions_after(version integer, after text, most bigint)
        RETURNS TABLE (number bigint, zone integer, stream text) LANGUAGE plpgsql STABLE
        SET plan_cache_mode = force_generic_plan
        SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
        AS $$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stream::text FROM {schema}.view_positions AS own
            WHERE own.version = $1 AND own.stream > $2 AND own.number IS NOT NULL ORDER BY own.stream LIMIT $3;
        END $$;
"#;

/// The names of streams that do not fit into an index; the other tables have [keys](super::stream_keys) instead. Version 1
/// could store such a name only if Postgres compressed it well.
const VERSION_2: &str = r#"
    CREATE TABLE {schema}.view_long_names (
        key text COLLATE "C" PRIMARY KEY,
        name text NOT NULL
    );
    DO $$
        DECLARE long text; bytes bytea; cut integer; short text;
        BEGIN
            FOR long IN
                SELECT stream FROM (
                    SELECT stream FROM {schema}.view_positions UNION SELECT stream FROM {schema}.view_quarantine
                    UNION SELECT stream FROM {schema}.view_skips
                ) AS streams WHERE octet_length(stream) > 2048
            LOOP
                bytes := convert_to(long, 'UTF8');
                cut := 2048;
                WHILE get_byte(bytes, cut) & 192 = 128 LOOP  -- inside a character
                    cut := cut - 1;
                END LOOP;
                short := convert_from(substring(bytes FROM 1 FOR cut), 'UTF8') || '#' || encode(sha256(bytes), 'hex');
                INSERT INTO {schema}.view_long_names VALUES (short, long);
                UPDATE {schema}.view_positions SET stream = short WHERE stream = long;
                UPDATE {schema}.view_quarantine SET stream = short WHERE stream = long;
                UPDATE {schema}.view_skips SET stream = short WHERE stream = long;
            END LOOP;
        END
    $$;
"#;

const GRANTS: &str = "
    REVOKE ALL ON {schema}.view_versions, {schema}.view_positions, {schema}.view_quarantine, {schema}.view_skips,
        {schema}.view_unfinished, {schema}.view_nothing, {schema}.view_long_names FROM {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.view_versions, {schema}.view_positions,
        {schema}.view_quarantine, {schema}.view_skips, {schema}.view_unfinished TO {role};
    GRANT SELECT, INSERT ON {schema}.view_long_names TO {role};
    GRANT EXECUTE ON FUNCTION {schema}.view_places, {schema}.view_positions_after TO {role};
";

/// Constraint that an unfinished transaction violates.
pub(super) const UNFINISHED: &str = "the_code_of_a_view_must_not_end_its_transaction";
