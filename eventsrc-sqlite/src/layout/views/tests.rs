use super::*;
use crate::layout::{is_ours, migrate};

fn fresh() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    migrate(&connection, 0).unwrap();
    connection
}

/// A version of the view `names` with these tables, and the number that it goes by.
fn create(connection: &Connection, version: u32, serves: bool, tables: &str) -> i64 {
    let row = VersionRow { version, serves, tables: tables.into() };
    create_version(connection, "names", &row).unwrap();
    self::version(connection, "names", version).unwrap().unwrap()
}

fn at(number: i64, zone: u16) -> PositionRow {
    PositionRow { number, zone }
}

#[test]
fn every_table_of_a_file_is_known_to_be_ours() {
    let connection = fresh();
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(tables.len(), crate::layout::OURS.len());
    assert!(tables.iter().all(|table| is_ours(table)), "{tables:?}");
}

#[test]
fn versions_are_found_by_their_view_and_one_serves() {
    let connection = fresh();
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
fn a_position_moves_only_from_where_it_is() {
    let connection = fresh();
    let id = create(&connection, 1, true, "[]");
    let mut mover = Mover::new(&connection, id).unwrap();
    assert!(!mover.advance("user/1", Some(at(1, 0)), at(2, 0)).unwrap(), "it is nowhere");
    assert!(mover.advance("user/1", None, at(3, 7)).unwrap());
    assert!(!mover.advance("user/1", None, at(4, 7)).unwrap(), "it is somewhere");
    for elsewhere in [at(2, 7), at(4, 7), at(3, 6)] {
        assert!(!mover.advance("user/1", Some(elsewhere), at(9, 9)).unwrap(), "it is not at {elsewhere:?}");
    }
    assert!(mover.advance("user/1", Some(at(3, 7)), at(i64::MAX, u16::MAX)).unwrap());
    let position = Some(at(i64::MAX, u16::MAX));
    assert_eq!(place(&connection, id, "user/1").unwrap(), StreamPositionRow { position, quarantined: false });
    assert_eq!(place(&connection, id + 1, "user/1").unwrap(), StreamPositionRow::default());
}

#[test]
fn a_position_in_quarantine_does_not_move() {
    let connection = fresh();
    let id = create(&connection, 1, true, "[]");
    let mut mover = Mover::new(&connection, id).unwrap();
    assert!(mover.advance("user/2", None, at(1, 0)).unwrap());
    let poison = |stream: &str, position: Option<PositionRow>, error: &str| QuarantineRow {
        stream: stream.into(),
        position,
        commit: at(2, 5),
        error: error.into(),
        time: -1,
    };
    let told = [poison("user/1", None, "a"), poison("user/2", Some(at(1, 0)), "b\0é")];
    for told in &told {
        quarantine(&connection, id, told).unwrap();
        quarantine(&connection, id, &QuarantineRow { error: "later".into(), ..told.clone() }).unwrap();
    }
    quarantine(&connection, id, &poison("user/3", Some(at(1, 0)), "it is not there")).unwrap();
    assert_eq!(quarantined(&connection, id).unwrap(), told);
    let mut mover = Mover::new(&connection, id).unwrap();
    assert!(!mover.advance("user/1", None, at(1, 0)).unwrap());
    assert!(!mover.advance("user/2", Some(at(1, 0)), at(2, 5)).unwrap());
    assert!(place(&connection, id, "user/1").unwrap().quarantined);
    for released in [true, false] {
        assert_eq!(release(&connection, id, "user/2").unwrap(), released);
    }
    assert!(mover.advance("user/2", Some(at(1, 0)), at(2, 5)).unwrap());
}

#[test]
fn positions_come_by_name_and_go_on_after_one() {
    let connection = fresh();
    let id = create(&connection, 1, true, "[]");
    let mut mover = Mover::new(&connection, id).unwrap();
    // As the whole text sorts, not as category and id do.
    let names = ["a!/1", "a/1", "a/10", "a/2", "ab/1", "é/1", "😀/1"];
    assert!(names.is_sorted());
    for name in names.iter().rev() {
        assert!(mover.advance(name, None, at(1, 0)).unwrap());
    }
    let named = |after: &str, limit| -> Vec<String> {
        positions(&connection, id, after, limit).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(named("", i64::MAX), names);
    assert_eq!(named("", 0), [""; 0]);
    assert_eq!(named("a/1", 3), names[2..5]);
}

#[test]
fn skips_come_back_as_they_were_recorded_by_stream_and_sequence() {
    let connection = fresh();
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
fn a_version_lies_behind_where_the_other_one_is_further() {
    let connection = fresh();
    let (own, other) = (create(&connection, 1, false, "[]"), create(&connection, 2, true, "[]"));
    let put = |id, stream, position| {
        assert!(Mover::new(&connection, id).unwrap().advance(stream, None, position).unwrap());
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
    let poison = QuarantineRow {
        stream: "s/zone".into(),
        position: Some(at(2, 0)),
        commit: at(3, 0),
        error: String::new(),
        time: 0,
    };
    quarantine(&connection, own, &poison).unwrap();
    let rows = behind(&connection, own, other).unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| (row.stream.as_str(), row.from, row.to, row.quarantined)).collect();
    assert_eq!(
        told,
        [
            ("s/absent", None, at(2, 1), false),
            ("s/behind", Some(at(9, 9)), at(10, 0), false),
            ("s/zone", Some(at(2, 0)), at(2, 1), true)
        ]
    );
}

#[test]
fn a_removed_version_leaves_nothing_of_its_own_behind() {
    let connection = fresh();
    let (id, other) = (create(&connection, 1, false, "[]"), create(&connection, 2, true, "[]"));
    for id in [id, other] {
        assert!(Mover::new(&connection, id).unwrap().advance("a/1", None, at(1, 0)).unwrap());
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
    assert_eq!(kind_of(&connection, "parents_v1").unwrap(), None);
    assert_eq!(place(&connection, id, "a/1").unwrap().position, None);
    assert_eq!(place(&connection, other, "a/1").unwrap().position, Some(at(1, 0)));
}
