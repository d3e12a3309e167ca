use std::borrow::Cow;
use std::ops::ControlFlow;

use eventsrc_core::StreamName;
use eventsrc_core::backend::EncodedCommit;
use eventsrc_core::storage::Segment;
use rusqlite::{Connection, Result};
use uuid::Uuid;

use super::events::into_owned;
use super::schema::OWN_TABLES;
use super::*;

/// A database in memory with all tables.
fn migrated() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Empty);
    migrate(&connection, 0).unwrap();
    connection
}

#[test]
fn migrations_bring_an_empty_file_to_the_current_version() {
    let connection = migrated();
    assert_eq!(identity(&connection).unwrap(), Identity::Ours(VERSION));
    migrate(&connection, VERSION).unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Ours(VERSION));
}

#[test]
fn every_table_of_a_file_is_listed_as_own() {
    let connection = migrated();
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(tables.len(), OWN_TABLES.len());
    assert!(tables.iter().all(|table| is_own_table(table)), "{tables:?}");
}

#[test]
fn a_file_with_tables_or_application_id_of_another_program_is_foreign() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Foreign);
    let connection = migrated();
    connection.pragma_update(None, "application_id", 7).unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Foreign);
}

/// Consecutive commits of one stream, with every combination of column values.
fn sample_commits() -> Vec<EncodedCommit<'static>> {
    let mut commits: Vec<EncodedCommit<'static>> = Vec::new();
    for (text, payloads) in [(true, "[\"a\0é\"]".as_bytes()), (false, b"\0\xff"), (true, b"[]"), (false, b"")]
    {
        for lengths in [&[][..], &[1, 0x80, 1]] {
            for metadata in [None, Some("{}")] {
                for (zone, count, time, version) in [(0, 1, 0, 1), (u16::MAX, 3, i64::MIN, u32::MAX)] {
                    let before = commits.last();
                    let number = before.map_or(1, |commit| commit.last() + 1);
                    commits.push(EncodedCommit {
                        number,
                        zone,
                        count,
                        time,
                        commit_id: Uuid::from_u128(number.into()),
                        previous: before.map(|commit| commit.commit_id).filter(|_| zone == 0),
                        version,
                        text,
                        payloads: payloads.into(),
                        lengths: lengths.into(),
                        metadata: metadata.map(Cow::from),
                    });
                }
            }
        }
    }
    commits
}

#[test]
fn appended_commits_round_trip() {
    let connection = migrated();
    let name = StreamName::new("user", "1/2").unwrap();
    assert_eq!(stream(&connection, &name).unwrap(), None);
    let id = create_stream(&connection, &name).unwrap();
    assert_eq!(stream(&connection, &name).unwrap(), Some(id));
    assert_eq!(head(&connection, id).unwrap(), None);
    let rows = sample_commits();
    for row in &rows {
        append(&connection, id, row).unwrap();
        assert_eq!(head(&connection, id).unwrap(), Some(row.head()));
        assert_eq!(last_commit_up_to(&connection, id, row.last()).unwrap().as_ref(), Some(row));
        let last = i64::try_from(row.last()).unwrap();
        assert_eq!(start_up_to(&connection, &name, last).unwrap(), Some(row.number as i64));
    }
    assert_eq!(start_up_to(&connection, &name, 0).unwrap(), Some(0));
    assert_eq!(start_up_to(&connection, &StreamName::new("user", "2").unwrap(), 0).unwrap(), None);
    let heads: Vec<_> = rows.iter().rev().map(EncodedCommit::head).collect();
    assert_eq!(recent(&connection, &name, 3).unwrap(), heads[..3]);
    assert_eq!(recent(&connection, &name, usize::MAX).unwrap(), heads);
    assert_eq!(recent(&connection, &name, 0).unwrap(), []);
    let mut read = Vec::new();
    let visited_all = visit_stream(&connection, &name, 0, |_, row| {
        read.push(into_owned(row.unwrap()));
        ControlFlow::Continue(())
    });
    assert!(visited_all.unwrap());
    assert_eq!(read, rows);
    let mut scanned = Vec::new();
    visit_segment(&connection, Segment::ALL, 0, last_position(&connection).unwrap(), |row| {
        assert_eq!((row.category.as_str(), row.id.as_str()), ("user", "1/2"));
        scanned.push(into_owned(row.commit.unwrap()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(scanned, rows);
}

#[test]
fn heads_are_visited_by_stream_and_resume_after_a_break() {
    let connection = migrated();
    let rows = sample_commits();
    let mut expected = Vec::new();
    assert_eq!(last_stream(&connection).unwrap(), 0);
    // The first stream has no commits. The last one is created after the limit of the visits.
    for commits in 0..=rows.len() {
        let id = commits.to_string();
        let stream = create_stream(&connection, &StreamName::new("user", &id).unwrap()).unwrap();
        rows[..commits].iter().for_each(|row| append(&connection, stream, row).unwrap());
        let end = rows[..commits].last().map(EncodedCommit::head);
        expected.extend(end.map(|end| (stream, id, end)));
    }
    let last = last_stream(&connection).unwrap();
    assert_eq!(last, 1 + rows.len() as i64);
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let visited_all = visit_heads(&connection, Segment::ALL, after, last - 1, |row| {
            assert_eq!(row.category, "user");
            after = row.stream;
            found.push((row.stream, row.id, row.head.unwrap()));
            ControlFlow::Break(())
        });
        if visited_all.unwrap() {
            break;
        }
    }
    expected.pop();
    assert_eq!(found, expected);
}

#[test]
fn a_number_of_a_stream_is_stored_only_once() {
    let connection = migrated();
    let id = create_stream(&connection, &StreamName::new("user", "1").unwrap()).unwrap();
    let row = sample_commits().remove(0);
    append(&connection, id, &row).unwrap();
    assert!(append(&connection, id, &EncodedCommit { zone: 1, ..row }).is_err());
}

#[test]
fn snapshots_round_trip() {
    let connection = migrated();
    let at = |name: &str| SnapshotKey { name: name.into(), key: "\"1\"".into(), fold_version: 7 };
    let values = [None, Some((true, b"{}".to_vec())), Some((false, vec![0, 255])), Some((false, vec![]))];
    for (index, value) in values.into_iter().enumerate() {
        let (at, number) = (at(&index.to_string()), 1 + index as i64);
        let commit_id = (index % 2 == 0).then(|| Uuid::from_u128(7));
        let row = SnapshotRow { number, zone: u16::MAX, time: -1, commit_id, version: u32::MAX, value };
        put_epoch(&connection, &at, &row).unwrap();
        assert_eq!(latest_snapshot(&connection, &at).unwrap().as_ref(), Some(&row));
        assert_eq!(earliest_snapshot(&connection, &at).unwrap().as_ref(), Some(&row));
        assert_eq!(snapshot_before(&connection, &at, number, u16::MAX).unwrap(), None);
        let later = SnapshotRow { number: number + 1, ..row.clone() };
        put_cached(&connection, &at, &later).unwrap();
        put_cached(&connection, &at, &row).unwrap();
        assert_eq!(latest_snapshot(&connection, &at).unwrap().as_ref(), Some(&later));
        assert_eq!(snapshot_before(&connection, &at, number + 1, 0).unwrap(), Some(row));
    }
    assert_eq!(latest_snapshot(&connection, &at("none")).unwrap(), None);
}

/// Files of earlier and of this version of the layout, in SQL. They must not be changed.
const STORED: [&str; 3] = [
    include_str!("samples/version_1.sql"),
    include_str!("samples/version_2.sql"),
    include_str!("samples/version_3.sql"),
];

#[test]
fn files_of_every_version_of_the_layout_stay_readable() {
    for (version, sql) in (1..).zip(STORED) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        assert_eq!(identity(&connection).unwrap(), Identity::Ours(version));
        migrate(&connection, version).unwrap();
        assert_eq!(identity(&connection).unwrap(), Identity::Ours(VERSION));

        let name = StreamName::new("user", "1").unwrap();
        let id = stream(&connection, &name).unwrap().unwrap();
        let mut commits = Vec::new();
        let visited_all = visit_stream(&connection, &name, 0, |_, row| {
            commits.push(into_owned(row.unwrap()));
            ControlFlow::Continue(())
        });
        assert!(visited_all.unwrap());
        let ids = [0x019b_7693_2c00_7000_8000_0000_0000_0001, 0x019b_7693_2fe8_7000_8000_0000_0000_0002];
        let ids = ids.map(Uuid::from_u128);
        let first = EncodedCommit {
            number: 1,
            zone: 0,
            count: 1,
            time: 1_767_225_600_000_001,
            commit_id: ids[0],
            previous: None,
            version: 1,
            text: true,
            payloads: br#"["Ada"]"#.into(),
            lengths: Cow::default(),
            metadata: None,
        };
        let second = EncodedCommit {
            number: 2,
            count: 2,
            time: 1_767_225_601_000_000,
            commit_id: ids[1],
            previous: Some(ids[0]).filter(|_| version >= 3),
            payloads: br#"["Ada Lovelace","Countess"]"#.into(),
            lengths: (&[14, 10][..]).into(),
            metadata: Some(r#"{"commit_id":"019b7693-2fe8-7000-8000-000000000002","actor":"admin"}"#.into()),
            ..first.clone()
        };
        assert_eq!(commits, [first, second.clone()], "version {version}");
        assert_eq!(recent(&connection, &name, 1).unwrap(), [second.head()]);

        let at = SnapshotKey { name: "names".into(), key: "\"user/1\"".into(), fold_version: 1 };
        let latest = SnapshotRow {
            number: 3,
            zone: 0,
            time: 1_767_225_601_000_000,
            commit_id: Some(ids[1]).filter(|_| version >= 3),
            version: 1,
            value: Some((true, br#""Countess""#.to_vec())),
        };
        assert_eq!(latest_snapshot(&connection, &at).unwrap(), Some(latest.clone()), "version {version}");
        let earliest =
            SnapshotRow { number: 1, time: 1_767_225_600_000_001, commit_id: None, value: None, ..latest };
        assert_eq!(earliest_snapshot(&connection, &at).unwrap(), Some(earliest), "version {version}");

        let third =
            EncodedCommit { number: 4, previous: Some(ids[1]), commit_id: Uuid::from_u128(3), ..second };
        append(&connection, id, &third).unwrap();
        assert_eq!(last_commit_up_to(&connection, id, 4).unwrap(), Some(third));
    }
}
