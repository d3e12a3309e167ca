use super::*;

fn fresh() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Empty);
    migrate(&connection, 0).unwrap();
    connection
}

#[test]
fn migrations_bring_an_empty_file_to_the_current_version() {
    let connection = fresh();
    assert_eq!(identity(&connection).unwrap(), Identity::Ours(VERSION));
    migrate(&connection, VERSION).unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Ours(VERSION));
}

#[test]
fn a_file_with_tables_of_others_is_foreign() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Foreign);
    let connection = fresh();
    connection.pragma_update(None, "application_id", 7).unwrap();
    assert_eq!(identity(&connection).unwrap(), Identity::Foreign);
}

/// Commits of every shape, one after the other.
fn shapes() -> Vec<CommitRow> {
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
fn commits_come_back_as_they_were_appended() {
    let connection = fresh();
    let name = StreamName::new("user", "1/2").unwrap();
    assert_eq!(stream(&connection, &name).unwrap(), None);
    let id = create_stream(&connection, &name).unwrap();
    assert_eq!(stream(&connection, &name).unwrap(), Some(id));
    assert_eq!(head(&connection, id).unwrap(), None);
    let rows = shapes();
    for row in &rows {
        append(&connection, id, row).unwrap();
        let end = HeadRow { number: row.last(), zone: row.zone, time: row.time };
        assert_eq!(head(&connection, id).unwrap(), Some(end));
        assert_eq!(commit_up_to(&connection, id, row.last()).unwrap().as_ref(), Some(row));
        assert_eq!(begin_up_to(&connection, id, row.last()).unwrap(), Some(row.number));
    }
    let mut read = Vec::new();
    let saw_all = visit_stream(&connection, id, 0, |_, row| {
        read.push(row.unwrap());
        ControlFlow::Continue(())
    });
    assert!(saw_all.unwrap());
    assert_eq!(read, rows);
    let mut scanned = Vec::new();
    visit_segment(&connection, Segment::ALL, 0, last_position(&connection).unwrap(), |placed| {
        assert_eq!((placed.category.as_str(), placed.id.as_str()), ("user", "1/2"));
        scanned.push(placed.commit.unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(scanned, rows);
}

#[test]
fn heads_come_by_stream_and_go_on_where_they_broke_off() {
    let connection = fresh();
    let rows = shapes();
    let mut expected = Vec::new();
    assert_eq!(last_stream(&connection).unwrap(), 0);
    // The first stream has no commits, and the last is one that came too late.
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
        let saw_all = visit_heads(&connection, Segment::ALL, after, last - 1, |row| {
            assert_eq!(row.category, "user");
            after = row.stream;
            found.push((row.stream, row.id, row.head.unwrap()));
            ControlFlow::Break(())
        });
        if saw_all.unwrap() {
            break;
        }
    }
    expected.pop();
    assert_eq!(found, expected);
}

#[test]
fn no_number_of_a_stream_is_stored_twice_whoever_asks() {
    let connection = fresh();
    let id = create_stream(&connection, &StreamName::new("user", "1").unwrap()).unwrap();
    let row = shapes().remove(0);
    append(&connection, id, &row).unwrap();
    assert!(append(&connection, id, &CommitRow { zone: 1, ..row }).is_err());
}

#[test]
fn snapshots_come_back_as_they_were_put() {
    let connection = fresh();
    let at = |name: &str| SnapshotKey { name: name.into(), key: "\"1\"".into(), fold_version: 7 };
    let values = [None, Some((true, b"{}".to_vec())), Some((false, vec![0, 255])), Some((false, vec![]))];
    for (place, value) in values.into_iter().enumerate() {
        let (at, number) = (at(&place.to_string()), 1 + place as i64);
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
