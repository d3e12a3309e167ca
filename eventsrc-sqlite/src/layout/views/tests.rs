use rusqlite::Connection;

use super::*;
use crate::layout::migrate;

/// A database in memory with all tables.
fn migrated() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    migrate(&connection, 0).unwrap();
    connection
}

/// Creates a version of the view `names` with these tables, and returns its row id.
fn create(connection: &Connection, version: u32, serves: bool, tables: &str) -> i64 {
    let row = VersionRow { version, serves, tables: tables.into() };
    create_version(connection, "names", &row).unwrap();
    self::version(connection, "names", version).unwrap().unwrap()
}

fn at(number: i64, zone: u16) -> PositionRow {
    PositionRow { number, zone }
}

#[test]
fn versions_belong_to_their_view_and_one_of_them_serves() {
    let connection = migrated();
    assert_eq!(version(&connection, "names", 1).unwrap(), None);
    assert_eq!(serving(&connection, "names").unwrap(), None);
    let first = create(&connection, 1, true, r#"["users"]"#);
    let second = create(&connection, 2, false, r#"["users","mails"]"#);
    assert_ne!(first, second);
    assert_eq!(serving(&connection, "names").unwrap(), Some((1, first)));
    serve(&connection, "names", 2).unwrap();
    assert_eq!(serving(&connection, "names").unwrap(), Some((2, second)));
    assert_eq!(serving(&connection, "others").unwrap(), None);
    let serves: Vec<bool> =
        versions(&connection, "names").unwrap().into_iter().map(|row| row.serves).collect();
    assert_eq!(serves, [false, true]);
    assert_eq!(other_owner(&connection, "others", "mails").unwrap().as_deref(), Some("names"));
    assert_eq!(other_owner(&connection, "others", "letters").unwrap(), None);
    assert_eq!(other_owner(&connection, "names", "mails").unwrap(), None);
}

#[test]
fn a_position_advances_only_from_the_stored_position() {
    let connection = migrated();
    let id = create(&connection, 1, true, "[]");
    let mut updater = PositionUpdater::new(&connection, id).unwrap();
    assert!(!updater.advance("user/1", Some(at(1, 0)), at(2, 0)).unwrap(), "the stream has no position");
    assert!(updater.advance("user/1", None, at(3, 7)).unwrap());
    assert!(!updater.advance("user/1", None, at(4, 7)).unwrap(), "the stream has a position");
    for other in [at(2, 7), at(4, 7), at(3, 6)] {
        assert!(!updater.advance("user/1", Some(other), at(9, 9)).unwrap(), "the position is not {other:?}");
    }
    assert!(updater.advance("user/1", Some(at(3, 7)), at(i64::MAX, u16::MAX)).unwrap());
    let position = Some(at(i64::MAX, u16::MAX));
    assert_eq!(
        position_of(&connection, id, "user/1").unwrap(),
        StreamPositionRow { position, quarantined: false }
    );
    assert_eq!(position_of(&connection, id + 1, "user/1").unwrap(), StreamPositionRow::default());
}

#[test]
fn a_stream_in_quarantine_does_not_advance() {
    let connection = migrated();
    let id = create(&connection, 1, true, "[]");
    let mut updater = PositionUpdater::new(&connection, id).unwrap();
    assert!(updater.advance("user/2", None, at(1, 0)).unwrap());
    let entry = |stream: &str, position: Option<PositionRow>, error: &str| QuarantineRow {
        stream: stream.into(),
        position,
        commit: at(2, 5),
        error: error.into(),
        time: -1,
    };
    let entries = [entry("user/1", None, "a"), entry("user/2", Some(at(1, 0)), "b\0é")];
    for entry in &entries {
        quarantine(&connection, id, entry).unwrap();
        quarantine(&connection, id, &QuarantineRow { error: "later".into(), ..entry.clone() }).unwrap();
    }
    quarantine(&connection, id, &entry("user/3", Some(at(1, 0)), "the position differs")).unwrap();
    assert_eq!(quarantined(&connection, id).unwrap(), entries);
    let mut updater = PositionUpdater::new(&connection, id).unwrap();
    assert!(!updater.advance("user/1", None, at(1, 0)).unwrap());
    assert!(!updater.advance("user/2", Some(at(1, 0)), at(2, 5)).unwrap());
    assert!(position_of(&connection, id, "user/1").unwrap().quarantined);
    for released in [true, false] {
        assert_eq!(release(&connection, id, "user/2").unwrap(), released);
    }
    assert!(updater.advance("user/2", Some(at(1, 0)), at(2, 5)).unwrap());
}

#[test]
fn positions_are_ordered_by_name_and_resume_after_a_name() {
    let connection = migrated();
    let id = create(&connection, 1, true, "[]");
    let mut updater = PositionUpdater::new(&connection, id).unwrap();
    // The order of the whole names, not of their categories and ids.
    let names = ["a!/1", "a/1", "a/10", "a/2", "ab/1", "é/1", "😀/1"];
    assert!(names.is_sorted());
    for name in names.iter().rev() {
        assert!(updater.advance(name, None, at(1, 0)).unwrap());
    }
    let named = |after: &str, limit| -> Vec<String> {
        positions(&connection, id, after, limit).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(named("", i64::MAX), names);
    assert_eq!(named("", 0), [""; 0]);
    assert_eq!(named("a/1", 3), names[2..5]);
}

#[test]
fn recorded_skips_round_trip_ordered_by_stream_and_sequence() {
    let connection = migrated();
    let id = create(&connection, 1, true, "[]");
    let skip = |stream: &str, from: Option<PositionRow>, to| SkipRow {
        stream: stream.into(),
        from,
        to,
        reason: "é\0".into(),
        time: i64::MIN,
    };
    let all =
        [skip("a/1", None, at(1, 9)), skip("a/1", Some(at(2, 0)), at(10, 3)), skip("b/1", None, at(1, 0))];
    all.iter().rev().for_each(|row| record_skip(&connection, id, row).unwrap());
    assert_eq!(skipped(&connection, id).unwrap(), all);
}

#[test]
fn a_version_is_behind_where_the_other_one_has_a_greater_position() {
    let connection = migrated();
    let (own, other) = (create(&connection, 1, false, "[]"), create(&connection, 2, true, "[]"));
    let put = |id, stream, position| {
        assert!(PositionUpdater::new(&connection, id).unwrap().advance(stream, None, position).unwrap());
    };
    for (stream, mine, theirs) in [
        ("s/absent", None, Some(at(2, 1))),
        ("s/ahead", Some(at(3, 0)), Some(at(2, 9))),
        ("s/behind", Some(at(9, 9)), Some(at(10, 0))),
        ("s/level", Some(at(2, 2)), Some(at(2, 2))),
        ("s/mine", Some(at(1, 0)), None),
        ("s/zone", Some(at(2, 0)), Some(at(2, 1))),
    ] {
        mine.into_iter().for_each(|position| put(own, stream, position));
        theirs.into_iter().for_each(|position| put(other, stream, position));
    }
    let entry = QuarantineRow {
        stream: "s/zone".into(),
        position: Some(at(2, 0)),
        commit: at(3, 0),
        error: String::new(),
        time: 0,
    };
    quarantine(&connection, own, &entry).unwrap();
    let rows = behind(&connection, own, other).unwrap();
    let found: Vec<_> =
        rows.iter().map(|row| (row.stream.as_str(), row.from, row.to, row.quarantined)).collect();
    assert_eq!(
        found,
        [
            ("s/absent", None, at(2, 1), false),
            ("s/behind", Some(at(9, 9)), at(10, 0), false),
            ("s/zone", Some(at(2, 0)), at(2, 1), true)
        ]
    );
}

#[test]
fn a_removed_version_leaves_no_tables_and_no_positions() {
    let connection = migrated();
    let (id, other) = (create(&connection, 1, false, "[]"), create(&connection, 2, true, "[]"));
    for id in [id, other] {
        assert!(PositionUpdater::new(&connection, id).unwrap().advance("a/1", None, at(1, 0)).unwrap());
    }
    connection
        .execute_batch(
            "CREATE TABLE parents_v1 (id PRIMARY KEY); CREATE TABLE children_v1 (id REFERENCES parents_v1);
             INSERT INTO parents_v1 VALUES (1); INSERT INTO children_v1 VALUES (1); BEGIN",
        )
        .unwrap();
    drop_tables(&connection, &["parents".into(), "children".into()], 1).unwrap();
    remove_version(&connection, id).unwrap();
    connection.execute_batch("COMMIT").unwrap();
    assert_eq!(version(&connection, "names", 1).unwrap(), None);
    assert_eq!(object_type(&connection, "parents_v1").unwrap(), None);
    assert_eq!(position_of(&connection, id, "a/1").unwrap().position, None);
    assert_eq!(position_of(&connection, other, "a/1").unwrap().position, Some(at(1, 0)));
}
