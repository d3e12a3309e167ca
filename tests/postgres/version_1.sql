CREATE SCHEMA eventsrc;
CREATE TABLE eventsrc.versions (part text PRIMARY KEY, version integer NOT NULL);
INSERT INTO eventsrc.versions VALUES ('events', 1);
CREATE TABLE eventsrc.commits (
    number bigint NOT NULL,
    time bigint NOT NULL,
    version bigint NOT NULL,
    zone integer NOT NULL,
    count integer NOT NULL,
    bucket smallint NOT NULL,
    commit_id uuid NOT NULL,
    category text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    payload_text text,
    payload_bytes bytea,
    lengths bytea,
    metadata text,
    PRIMARY KEY (bucket, category, id, number)
);
CREATE FUNCTION eventsrc.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'stored commits are never changed' USING ERRCODE = 'insufficient_privilege';
    END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eventsrc.commits
    FOR EACH STATEMENT EXECUTE FUNCTION eventsrc.refuse_change();
CREATE TABLE eventsrc.cached (
    name text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fold_version bigint NOT NULL,
    number bigint NOT NULL,
    zone integer NOT NULL,
    time bigint NOT NULL,
    version bigint NOT NULL,
    value_text text,
    value_bytes bytea,
    PRIMARY KEY (name, key, fold_version)
);
CREATE TABLE eventsrc.epochs (
    name text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fold_version bigint NOT NULL,
    number bigint NOT NULL,
    zone integer NOT NULL,
    time bigint NOT NULL,
    version bigint NOT NULL,
    value_text text,
    value_bytes bytea,
    PRIMARY KEY (name, key, fold_version, number, zone)
);
INSERT INTO eventsrc.commits (bucket, category, id, number, zone, count, time, commit_id, version, payload_text, payload_bytes, lengths, metadata) VALUES
    (232, 'user', '1', 1, 0, 1, 1767225600000001, '019b7693-2c00-7000-8000-000000000001', 1, '["Ada"]', NULL, NULL, NULL),
    (232, 'user', '1', 2, 0, 2, 1767225601000000, '019b7693-2fe8-7000-8000-000000000002', 1, '["Ada Lovelace","Countess"]', NULL, '\x0e0a',
     '{"commit_id":"019b7693-2fe8-7000-8000-000000000002","actor":"admin"}'),
    (689, 'blob', '1', 1, 0, 2, 1767225602000000, '019b7693-33d0-7000-8000-000000000003', 1, NULL, '\x017802797a', '\x0203', NULL);
INSERT INTO eventsrc.cached VALUES ('names', '"user/1"', 1, 3, 0, 1767225601000000, 1, '"Countess"', NULL);
INSERT INTO eventsrc.epochs VALUES ('names', '"user/1"', 1, 1, 0, 1767225600000001, 1, NULL, NULL);
