CREATE TABLE streams (
    stream INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (category, id)
) STRICT;
CREATE TABLE commits (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    count INTEGER NOT NULL,
    time INTEGER NOT NULL,
    commit_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    payloads ANY NOT NULL,
    lengths BLOB,
    metadata TEXT,
    UNIQUE (stream, number)
) STRICT;
CREATE TABLE snapshots (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    fold_version INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    time INTEGER NOT NULL,
    version INTEGER NOT NULL,
    value ANY,
    PRIMARY KEY (name, key, fold_version, epoch, number, zone)
) STRICT, WITHOUT ROWID;
CREATE TABLE view_versions (
    view_version INTEGER PRIMARY KEY,
    view TEXT NOT NULL,
    version INTEGER NOT NULL,
    serves INTEGER NOT NULL,
    tables TEXT NOT NULL,
    UNIQUE (view, version)
) STRICT;
CREATE TABLE view_positions (
    view_version INTEGER NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    PRIMARY KEY (view_version, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE view_quarantine (
    view_version INTEGER NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    error TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (view_version, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE view_skips (
    view_version INTEGER NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    from_number INTEGER,
    from_zone INTEGER,
    reason TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (view_version, stream, number, zone)
) STRICT, WITHOUT ROWID;
CREATE TABLE lines_v1 (
    stream TEXT PRIMARY KEY,
    text TEXT NOT NULL CHECK (text <> 'forbidden'),
    parent TEXT REFERENCES lines_v1 (stream) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE lines_v2 (
    stream TEXT PRIMARY KEY,
    text TEXT NOT NULL CHECK (text <> 'forbidden'),
    parent TEXT REFERENCES lines_v2 (stream) DEFERRABLE INITIALLY DEFERRED
);
CREATE VIEW "lines" AS SELECT * FROM "lines_v1";
INSERT INTO streams VALUES (1, 'line', '1'), (2, 'user', '1');
INSERT INTO commits VALUES
    (1, 1, 1, 0, 1, 1767225600000001, x'019b76932c0070008000000000000001', 1, '["a"]', NULL, NULL),
    (2, 2, 1, 0, 1, 1767225600500000, x'019b76932df470008000000000000002', 1, '["x"]', NULL, NULL),
    (3, 1, 2, 0, 2, 1767225601000000, x'019b76932fe870008000000000000003', 1, '["b","c"]', x'0303', NULL);
INSERT INTO snapshots VALUES
    ('names', '"user/1"', 1, 0, 1, 0, 1767225600500000, 1, '"x"');
INSERT INTO view_versions VALUES (1, 'lines', 1, 1, '["lines"]'), (2, 'lines', 2, 0, '["lines"]');
INSERT INTO view_positions VALUES
    (1, 'line/1', 1, 0),
    (2, 'line/1', 3, 0), (2, 'line/2', 1, 0), (2, 'line/3', 4, 0);
INSERT INTO view_quarantine VALUES (1, 'line/1', 2, 0, 'no such line', 1767225602000000);
INSERT INTO view_skips VALUES
    (2, 'line/2', 1, 0, NULL, NULL, 'of no use', 1767225603000000),
    (2, 'line/3', 4, 0, 2, 0, 'too late', 1767225604000001);
INSERT INTO lines_v1 VALUES ('line/1', 'a', NULL);
INSERT INTO lines_v2 VALUES ('line/1', 'a b c', NULL), ('line/3', 'd', 'line/1');
PRAGMA application_id = 1702261618;
PRAGMA user_version = 2;
