//! Tables, columns and names of a view that were removed by hand. It is an error of the view, and not of its events.

use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Applied, VersionedStore, ViewError, ViewStore};
use eventsrc_core::{ErrorKind, EventStorage, StorageError, Synchronizer, Token};
use eventsrc_sqlite::{Database, SqliteView};
use eventsrc_tests::HANG;
use rusqlite::Connection;
use tokio::time::timeout;

use super::{Action, Lines, LinesView, Location, apply, assert_says, batch, commit, line, lines_of, name};

/// Executes SQL as an operator would.
fn by_hand(place: &Location, sql: &str) {
    Connection::open(place.path()).unwrap().execute_batch(sql).unwrap();
}

/// Each removes what the view needs, and brings it back.
const DAMAGES: [(&str, &str, &str); 4] = [
    (
        "DROP TABLE lines_v1",
        "CREATE TABLE lines_v1 (stream TEXT PRIMARY KEY, text TEXT NOT NULL)",
        "no such table: lines_v1",
    ),
    (
        "ALTER TABLE lines_v1 RENAME COLUMN text TO other",
        "ALTER TABLE lines_v1 RENAME COLUMN other TO text",
        "no column named text",
    ),
    (
        "ALTER TABLE lines_v1 RENAME TO kept; CREATE TABLE lines_v1 (stream TEXT, text TEXT)",
        "DROP TABLE lines_v1; ALTER TABLE kept RENAME TO lines_v1",
        "does not match any PRIMARY KEY or UNIQUE constraint",
    ),
    (
        "ALTER TABLE view_positions RENAME TO kept",
        "ALTER TABLE kept RENAME TO view_positions",
        "no such table: view_positions",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_refused_until_the_object_is_back() {
    for (damage, repair, words) in DAMAGES {
        let place = Location::new(Lines::new(1)).await;
        by_hand(&place, damage);
        let chain = commit("line/1", 1, &["a"]);
        for _ in 0..2 {
            let error = place.view.apply(&batch(&[&chain])).await.unwrap_err();
            assert_says(&error, ErrorKind::Refused, &["cannot apply the view lines v1", words]);
        }
        by_hand(&place, repair);
        apply(&place.view, &[&chain]).await;
        assert_eq!(line(&place.view, "line/1").await, (Some("a".into()), Some(1)), "{damage}");
    }
}

/// P13: 30 streams, of which none goes into quarantine. Once the table is back, all are applied without a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_synchronizer_waits_for_the_table_and_continues() {
    let place = Location::new(Lines::new(1)).await;
    by_hand(&place, DAMAGES[0].0);
    let streams: Vec<_> = (0..30).map(|stream| format!("line/{stream}")).collect();
    for stream in &streams {
        assert!(matches!(place.storage.put(commit(stream, 1, &["a"])).await.unwrap(), Put::Stored));
    }
    let retry = BackoffSettings { longest_wait: Duration::from_millis(20), ..BackoffSettings::default() };
    let settings = SynchronizerSettings { retry, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(place.storage.clone(), place.view.clone(), settings);
    let refused = async {
        loop {
            let status = synchronizer.status().await.unwrap();
            assert_eq!(status.quarantined, []);
            if let Some(error) = status.last_error() {
                assert_says(&error, ErrorKind::Refused, &["no such table: lines_v1"]);
                break;
            }
            SystemClock.sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(HANG, refused).await.expect("the status shows the error");
    by_hand(&place, DAMAGES[0].1);
    timeout(HANG, synchronizer.sweep()).await.expect("it continues").unwrap();
    for stream in &streams {
        assert_eq!(line(&place.view, stream).await, (Some("a".into()), Some(1)));
    }
    let status = synchronizer.status().await.unwrap();
    assert_eq!((status.quarantined, status.stalled.len(), status.last_errors.len()), (vec![], 0, 0));
    synchronizer.stop().await;
}

/// Code that hides the error of SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_found_although_the_code_hides_the_error() {
    const HIDING: [Action; 2] = [
        |connection| {
            connection.execute_batch("DROP TABLE lines_v1")?;
            Err("it did not work".into())
        },
        |connection| {
            connection.execute_batch("DROP TABLE lines_v1")?;
            panic!("it did not work")
        },
    ];
    for action in HIDING {
        let place = Location::new(Lines::with_action(1, action)).await;
        let error = place.view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, &["lines v1", "lines_v1 is missing", "it did not work"]);
    }
}

/// Objects that the view's code names in addition to its own tables.
#[tokio::test(flavor = "multi_thread")]
async fn any_missing_name_in_the_code_is_refused() {
    async fn outcome(action: Action) -> Result<Applied, StorageError> {
        let place = Location::new(Lines::with_action(1, action)).await;
        place.view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await
    }
    const NAMES: [Action; 6] = [
        |connection| Ok(connection.execute_batch("INSERT INTO nowhere VALUES (1)")?),
        |connection| Ok(connection.execute_batch("SELECT absent FROM lines_v1")?),
        |connection| Ok(connection.execute_batch("SELECT absent(1)")?),
        |connection| Ok(connection.execute_batch("INSERT INTO lines_v1 VALUES (1)")?),
        |connection| Ok(connection.execute_batch("SELECT 1 FROM lines_v1 INDEXED BY absent")?),
        |connection| Ok(connection.execute_batch("SELECT 1 FROM absent.lines_v1")?),
    ];
    for action in NAMES {
        let error = outcome(action).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, &["cannot apply the view lines v1", "missing"]);
    }
    // A statement that fails because of the values that it is given.
    const VALUES: [Action; 3] = [
        |connection| Ok(connection.query_row("SELECT json('no such table')", [], |_| Ok(()))?),
        |connection| Ok(connection.query_row("SELECT abs(-9223372036854775807 - 1)", [], |_| Ok(()))?),
        |connection| Ok(connection.query_row("SELECT 1 WHERE 0", [], |_| Ok(()))?),
    ];
    for action in VALUES {
        assert!(matches!(outcome(action).await.unwrap(), Applied::Rejected(_)));
    }
}

/// No put fails because of a view. The synchronizer of the view catches up.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_in_the_append_stays_behind_until_its_table_is_back() {
    for (damage, repair, _) in DAMAGES {
        let place = Location::new(Lines::new(1)).await;
        let storage = place.storage.clone().with_view(&place.view).unwrap();
        assert!(matches!(storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
        by_hand(&place, damage);
        for (stream, first) in [("line/1", 2), ("line/2", 1)] {
            assert!(
                matches!(storage.put(commit(stream, first, &["b"])).await.unwrap(), Put::Stored),
                "{damage}"
            );
        }
        by_hand(&place, repair);
        assert_eq!(place.view.quarantined().await.unwrap(), []);
        assert_eq!(positions(&place.view, ["line/1", "line/2"]).await, [Some(1), None]);
        let synchronizer =
            Synchronizer::start(storage.clone(), place.view.clone(), SynchronizerSettings::default());
        timeout(HANG, synchronizer.sweep()).await.expect("it catches up").unwrap();
        synchronizer.stop().await;
        assert_eq!(positions(&place.view, ["line/1", "line/2"]).await, [Some(2), Some(1)]);
    }
}

/// Positions of these streams.
async fn positions(view: &LinesView, streams: [&str; 2]) -> [Option<u64>; 2] {
    let found = view.positions_of(&streams.map(name)).await.unwrap();
    [found[0].position, found[1].position]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_refused_until_the_object_is_back() {
    let place = Location::new(Lines::new(1)).await;
    apply(&place.view, &[&commit("line/1", 1, &["a"])]).await;
    for (damage, repair, words) in [
        ("DROP VIEW lines", "CREATE VIEW lines AS SELECT * FROM lines_v1", "no such table: lines"),
        (DAMAGES[1].0, DAMAGES[1].1, "no such column: text"),
        (DAMAGES[3].0, DAMAGES[3].1, "no such table: view_positions"),
        (DAMAGES[0].0, DAMAGES[0].1, "no such table: main.lines_v1"),
    ] {
        by_hand(&place, damage);
        let streams = [name("line/1")];
        let read = place.view.read(&streams, |connection| lines_of(connection, "lines", "line/1"));
        assert_says(&read.await.unwrap_err(), ErrorKind::Refused, &[words]);
        by_hand(&place, repair);
        place.view.read(&[], |connection| lines_of(connection, "lines", "line/1")).await.unwrap();
    }
}

async fn open(place: &Location, version: u32) -> Result<LinesView, StorageError> {
    SqliteView::open(&place.database, Lines::new(version)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_without_its_table_or_its_public_name_does_not_open() {
    let place = Location::new(Lines::new(1)).await;
    by_hand(&place, "DROP VIEW lines");
    let error = open(&place, 1).await.unwrap_err();
    let repair = "CREATE VIEW \"lines\" AS SELECT * FROM \"lines_v1\"";
    assert_says(&error, ErrorKind::Refused, &["cannot open the view lines v1", "lines is missing", repair]);
    by_hand(&place, repair);
    open(&place, 1).await.unwrap();
    by_hand(&place, "DROP TABLE lines_v1");
    let error = open(&place, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["cannot open the view lines v1", "lines_v1 is missing"]);
    by_hand(&place, DAMAGES[0].1);
    open(&place, 1).await.unwrap();
    // A version that does not serve needs no public name.
    by_hand(&place, "DROP VIEW lines");
    open(&place, 2).await.unwrap();
    open(&place, 2).await.unwrap();
}

/// The way out if the table cannot be restored: another version takes over.
#[tokio::test(flavor = "multi_thread")]
async fn another_version_replaces_one_whose_table_is_missing() {
    let place = Location::new(Lines::new(1)).await;
    assert!(matches!(place.storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
    apply(&place.view, &[&commit("line/1", 1, &["a"])]).await;
    by_hand(&place, "DROP TABLE lines_v1");
    let second = open(&place, 2).await.unwrap();
    let synchronizer =
        Synchronizer::start(place.storage.clone(), second.clone(), SynchronizerSettings::default());
    timeout(HANG, synchronizer.take_over()).await.expect("it takes over").unwrap();
    synchronizer.stop().await;
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
    place.view.retire().await.unwrap();
    assert_eq!(place.view.positions(None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_table_is_missing_is_retired_with_and_without_a_handle() {
    let place = Location::new(Lines::new(1)).await;
    for with_handle in [true, false] {
        let second = open(&place, 2).await.unwrap();
        apply(&second, &[&commit("line/1", 1, &["a"])]).await;
        by_hand(&place, "DROP TABLE lines_v2");
        if with_handle {
            second.retire().await.unwrap();
        } else {
            drop(second);
            assert_says(&open(&place, 2).await.unwrap_err(), ErrorKind::Refused, &["lines_v2 is missing"]);
            LinesView::retire_unopened(&place.database, Lines::new(2)).await.unwrap();
        }
        let again = open(&place, 2).await.unwrap();
        assert_eq!(again.positions(None, 10).await.unwrap(), []);
        again.retire().await.unwrap();
    }
    let error = LinesView::retire_unopened(&place.database, Lines::new(1)).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["serving version"]);
}

/// The tables of events, too: no stream goes into quarantine because they are missing.
#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_of_events_put_no_stream_into_quarantine() {
    let place = Location::new(Lines::new(1)).await;
    assert!(matches!(place.storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
    by_hand(&place, "ALTER TABLE commits RENAME TO kept");
    let error = place.storage.latest(&name("line/1")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["no such table: commits"]);
    let file = Database::open(place.folder.path().join("views.db")).await.unwrap();
    let view: LinesView = SqliteView::open(&file, Lines::new(1)).await.unwrap();
    let retry = BackoffSettings { longest_wait: Duration::from_millis(20), ..BackoffSettings::default() };
    let settings = SynchronizerSettings { retry, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(place.storage.clone(), view.clone(), settings);
    let token = Token::claimed(&name("line/1"), 1_u64).unwrap();
    let late = synchronizer.catch_up(&token, Duration::from_millis(100)).await;
    assert!(late.is_err(), "{late:?}");
    assert_eq!(synchronizer.status().await.unwrap().quarantined, []);
    by_hand(&place, "ALTER TABLE kept RENAME TO commits");
    synchronizer.catch_up(&token, HANG).await.unwrap();
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
    synchronizer.stop().await;
}

/// A file that became read-only.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_may_only_read_is_refused() {
    let read_only: Action = |_| {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch("CREATE TABLE own (a); PRAGMA query_only = on")?;
        Ok::<_, ViewError>(connection.execute_batch("INSERT INTO own VALUES (1)")?)
    };
    let place = Location::new(Lines::with_action(1, read_only)).await;
    let error = place.view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["read-only"]);
}
