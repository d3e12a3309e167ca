//! The tables of events and snapshots. This file alone knows their names and the SQL.

use crate::migration::Part;

/// Events and snapshots.
pub(crate) const PART: Part = Part { name: "events", migrations: &[VERSION_1], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.commits (
        number bigint NOT NULL,         -- of the first event
        time bigint NOT NULL,           -- microseconds since 1970
        version bigint NOT NULL,        -- of the payloads
        zone integer NOT NULL,
        count integer NOT NULL,
        bucket smallint NOT NULL,       -- a hash of the name
        commit_id uuid NOT NULL,
        category text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        payload_text text,              -- one of the two
        payload_bytes bytea,
        lengths bytea,                  -- NULL for one payload
        metadata text,                  -- JSON; NULL if it says no more than the commit id
        PRIMARY KEY (bucket, category, id, number)
    );
    CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'stored commits are never changed' USING ERRCODE = 'insufficient_privilege';
        END
    $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.commits
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
    CREATE TABLE {schema}.snapshots (
        name text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        fold_version bigint NOT NULL,
        epoch boolean NOT NULL,         -- false for the cached one
        number bigint NOT NULL,
        zone integer NOT NULL,
        time bigint NOT NULL,
        version bigint NOT NULL,        -- of the value
        value_text text,                -- both NULL for a deleted value
        value_bytes bytea,
        PRIMARY KEY (name, key, fold_version, epoch, number, zone)
    );
"#;

const GRANTS: &str = "
    REVOKE ALL ON {schema}.commits, {schema}.snapshots FROM {role};
    GRANT SELECT, INSERT ON {schema}.commits TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.snapshots TO {role};
";
