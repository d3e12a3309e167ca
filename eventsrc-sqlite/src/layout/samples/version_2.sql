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
INSERT INTO streams VALUES (1, 'user', '1'), (2, 'blob', '1');
INSERT INTO commits VALUES
    (1, 1, 1, 0, 1, 1767225600000001, x'019b76932c0070008000000000000001', 1, '["Ada"]', NULL, NULL),
    (2, 1, 2, 0, 2, 1767225601000000, x'019b76932fe870008000000000000002', 1, '["Ada Lovelace","Countess"]', x'0e0a',
     '{"commit_id":"019b7693-2fe8-7000-8000-000000000002","actor":"admin"}'),
    (3, 2, 1, 0, 2, 1767225602000000, x'019b769333d070008000000000000003', 1, x'017802797a', x'0203', NULL);
INSERT INTO snapshots VALUES
    ('names', '"user/1"', 1, 0, 3, 0, 1767225601000000, 1, '"Countess"'),
    ('names', '"user/1"', 1, 1, 1, 0, 1767225600000001, 1, NULL);
PRAGMA application_id = 1702261618;
PRAGMA user_version = 2;
