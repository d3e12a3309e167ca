//! Definitions and privileges of the tables of events and snapshots.

use crate::migration::Part;

/// Tables of events and snapshots.
pub(crate) const PART: Part = Part { name: "events", migrations: &[VERSION_1, VERSION_2], grants: GRANTS };

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
        payload_text text,              -- exactly one of the two is set
        payload_bytes bytea,
        lengths bytea,                  -- lengths of the payloads; NULL for one payload
        metadata text,                  -- JSON; NULL if it has only the commit id
        PRIMARY KEY (bucket, category, id, number)
    );
    CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'stored commits are never changed' USING ERRCODE = 'insufficient_privilege';
        END
    $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.commits
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
    CREATE TABLE {schema}.cached (
        name text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        fold_version bigint NOT NULL,
        number bigint NOT NULL,
        zone integer NOT NULL,
        time bigint NOT NULL,
        version bigint NOT NULL,        -- of the value
        value_text text,                -- both NULL for a deleted value
        value_bytes bytea,
        PRIMARY KEY (name, key, fold_version)
    );
    CREATE TABLE {schema}.epochs (
        LIKE {schema}.cached,
        PRIMARY KEY (name, key, fold_version, number, zone)
    );
"#;

/// A process of version 1 that is already connected goes on: it names the columns that it reads and writes, and these are
/// not among them.
const VERSION_2: &str = "
    ALTER TABLE {schema}.commits ADD COLUMN previous uuid;  -- NULL: the first commit, unknown, or stored by version 1
    ALTER TABLE {schema}.cached
        ADD COLUMN commit_id uuid,          -- NULL: stored by version 1
        ADD COLUMN commit_number bigint;    -- number that commit_id belongs to; version 1 changes only the other number
    ALTER TABLE {schema}.epochs ADD COLUMN commit_id uuid;  -- NULL: stored by version 1
";

const GRANTS: &str = "
    REVOKE ALL ON {schema}.commits, {schema}.cached, {schema}.epochs FROM {role};
    GRANT SELECT, INSERT ON {schema}.commits TO {role};
    GRANT SELECT, INSERT, UPDATE ON {schema}.cached, {schema}.epochs TO {role};
";
