use std::ops::ControlFlow;

use eventsrc_core::StreamName;
use eventsrc_core::backend::EncodedPayloads;
use eventsrc_core::storage::Segment;
use rusqlite::{Connection, Result};
use uuid::Uuid;

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
fn sample_commits() -> Vec<CommitRow> {
    let mut rows = Vec::new();
    let mut number = 1;
    for (text, bytes) in [(true, &b"[\"a\0\xc3\xa9\"]"[..]), (false, b"\0\xff"), (true, b"[]"), (false, b"")]
    {
        for lengths in [&[][..], &[1, 0x80, 1]] {
            for metadata in [None, Some("{}".to_owned())] {
                for (zone, count, time, version) in [(0, 1, 0, 1), (u16::MAX, 3, i64::MIN, u32::MAX)] {
                    let commit_id = Uuid::from_u128(number as u128);
                    let payloads =
                        EncodedPayloads { version, text, bytes: bytes.to_vec(), lengths: lengths.to_vec() };
                    let metadata = metadata.clone();
                    rows.push(CommitRow { number, zone, count, time, commit_id, payloads, metadata });
                    number += i64::from(count);
                }
            }
        }
    }
    rows
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
        let end = HeadRow { number: row.last(), zone: row.zone, time: row.time };
        assert_eq!(head(&connection, id).unwrap(), Some(end));
        assert_eq!(last_commit_up_to(&connection, id, row.last()).unwrap().as_ref(), Some(row));
        assert_eq!(last_start_up_to(&connection, id, row.last()).unwrap(), Some(row.number));
    }
    let mut read = Vec::new();
    let visited_all = visit_stream(&connection, id, 0, |_, row| {
        read.push(row.unwrap());
        ControlFlow::Continue(())
    });
    assert!(visited_all.unwrap());
    assert_eq!(read, rows);
    let mut scanned = Vec::new();
    visit_segment(&connection, Segment::ALL, 0, last_position(&connection).unwrap(), |row| {
        assert_eq!((row.category.as_str(), row.id.as_str()), ("user", "1/2"));
        scanned.push(row.commit.unwrap());
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
        let end = rows[..commits].last();
        let end = end.map(|row| HeadRow { number: row.last(), zone: row.zone, time: row.time });
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
    assert!(append(&connection, id, &CommitRow { zone: 1, ..row }).is_err());
}

#[test]
fn snapshots_round_trip() {
    let connection = migrated();
    let at = |name: &str| SnapshotKey { name: name.into(), key: "\"1\"".into(), fold_version: 7 };
    let values = [None, Some((true, b"{}".to_vec())), Some((false, vec![0, 255])), Some((false, vec![]))];
    for (index, value) in values.into_iter().enumerate() {
        let (at, number) = (at(&index.to_string()), 1 + index as i64);
        let row = SnapshotRow { number, zone: u16::MAX, time: -1, version: u32::MAX, value };
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
