//! Views whose code does what is forbidden, or fails in one of the ways that SQLite knows.

use std::error::Error;
use std::fmt;

use eventsrc_core::storage::Put;
use eventsrc_core::view::{Applied, ViewError, ViewStore};
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use eventsrc_sqlite::{Database, Settings, SqliteView};
use futures::future::{join_all, poll_immediate};
use rusqlite::Connection;

use super::{Action, Draft, Lines, Location, apply, assert_rejected, assert_says, batch, commit, line, name};

/// Runs `action` alone and between other batches of one group. Asserts that the other batches are applied, and
/// returns the outcomes.
async fn among_neighbours(action: Action) -> [Result<Applied, StorageError>; 2] {
    let place = Location::new(Lines::with_action(1, action)).await;
    let first = commit("line/before", 1, &["a"]);
    apply(&place.view, &[&first]).await;
    let bad = commit("line/bad", 1, &["good", "action"]);
    let alone = place.view.apply(&batch(&[&bad])).await;
    assert_eq!(line(&place.view, "line/bad").await, (None, None), "nothing of it is left");

    let held = place.hold();
    let stored = [commit("user/1", 1, &["x"]), commit("user/2", 1, &["y"])];
    let applied = [commit("line/before", 2, &["b"]), commit("line/after", 1, &["c"])];
    let batches = [batch(&[&applied[0]]), batch(&[&bad]), batch(&[&applied[1]])];
    let mut puts: Vec<_> = stored.iter().map(|commit| Box::pin(place.storage.put(commit.clone()))).collect();
    let mut applies: Vec<_> = batches.iter().map(|batch| Box::pin(place.view.apply(batch))).collect();
    assert!(poll_immediate(&mut puts[0]).await.is_none());
    for apply in &mut applies {
        assert!(poll_immediate(apply).await.is_none(), "nothing can be written yet");
    }
    assert!(poll_immediate(&mut puts[1]).await.is_none());
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    let [before, among, after] = <[_; 3]>::try_from(join_all(applies).await).unwrap();
    for applied in [before, after] {
        assert!(matches!(applied.unwrap(), Applied::Done));
    }
    assert_eq!(line(&place.view, "line/before").await, (Some("a b".into()), Some(2)));
    assert_eq!(line(&place.view, "line/after").await, (Some("c".into()), Some(1)));
    assert_eq!(line(&place.view, "line/bad").await, (None, None));

    // The next batch finds everything as it was, and on disk.
    apply(&place.view, &[&commit("line/before", 3, &["d"])]).await;
    let Location { folder, database, storage, view } = place;
    drop((database, storage, view));
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let storage: super::Storage = super::SqliteStorage::new(&database);
    for commit in &stored {
        assert_eq!(storage.latest(&commit.key).await.unwrap(), Some(commit.head()));
    }
    let view = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    assert_eq!(line(&view, "line/before").await, (Some("a b d".into()), Some(3)));
    [alone, among]
}

async fn is_rejected(action: Action, words: &[&str]) {
    for applied in among_neighbours(action).await {
        assert_rejected(&applied.unwrap(), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_rejected_and_the_other_batches_are_applied() {
    is_rejected(|_| Err("no such line".into()), &["no such line"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_rejected_and_the_other_batches_are_applied() {
    is_rejected(|_| panic!("out of lines"), &["panicked", "out of lines"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_during_a_statement_is_rejected_and_the_other_batches_are_applied() {
    fn panics(connection: &Connection) -> Result<(), ViewError> {
        let mut statement = connection.prepare_cached("SELECT stream FROM lines_v1").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_none(), "in the middle of the rows");
        Ok(())
    }
    is_rejected(panics, &["in the middle of the rows"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_constraint_is_rejected_and_the_other_batches_are_applied() {
    is_rejected(|connection| Ok(Lines::add(connection, 1, "line/x", "forbidden")?), &["CHECK"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_deferred_constraint_is_rejected_and_the_other_batches_are_applied() {
    fn orphans(connection: &Connection) -> Result<(), ViewError> {
        connection.execute("UPDATE lines_v1 SET parent = 'nobody' WHERE stream = 'line/bad'", [])?;
        Ok(())
    }
    is_rejected(orphans, &["FOREIGN KEY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sql_is_rejected_and_the_other_batches_are_applied() {
    is_rejected(|connection| Ok(connection.execute_batch("INSRT INTO lines_v1")?), &["syntax error"]).await;
}

/// Each of these ends the transaction, or would.
const ENDS: [&str; 5] = ["COMMIT", "ROLLBACK", "BEGIN", "RELEASE eventsrc_work", "ROLLBACK TO eventsrc_work"];

#[tokio::test(flavor = "multi_thread")]
async fn the_code_cannot_end_the_transaction() {
    const CASES: [Action; 5] = [
        |connection| Ok(connection.execute_batch(ENDS[0])?),
        |connection| Ok(connection.execute_batch(ENDS[1])?),
        |connection| Ok(connection.execute_batch(ENDS[2])?),
        |connection| Ok(connection.execute_batch(ENDS[3])?),
        |connection| Ok(connection.execute_batch(ENDS[4])?),
    ];
    for case in CASES {
        is_rejected(case, &["must not begin or end a transaction"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_ignores_a_refusal_is_rejected() {
    fn ends(connection: &Connection) -> Result<(), ViewError> {
        for end in ENDS {
            let _ = connection.execute_batch(end);
        }
        Ok(())
    }
    is_rejected(ends, &["must not begin or end a transaction"]).await;
}

/// The library's own statements are prepared already, so the authorizer is not asked about them.
#[tokio::test(flavor = "multi_thread")]
async fn the_code_cannot_end_the_transaction_with_a_statement_of_the_library() {
    fn ends(connection: &Connection) -> Result<(), ViewError> {
        for own in ["COMMIT", "BEGIN IMMEDIATE"] {
            let _ = connection.prepare_cached(own).and_then(|mut own| own.execute([]));
        }
        Ok(Lines::add(connection, 1, "line/bad", "alone")?)
    }
    is_rejected(ends, &["must not begin or end a transaction"]).await;
}

/// A conflict clause can roll the whole transaction back. The statements after it would then commit separately.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_clause_that_rolls_back_is_rejected_and_the_other_batches_are_applied() {
    fn rolls_back(connection: &Connection) -> Result<(), ViewError> {
        connection
            .execute("INSERT OR ROLLBACK INTO lines_v1 (stream, text) VALUES ('x', 'forbidden')", [])?;
        Ok(())
    }
    fn and_goes_on(connection: &Connection) -> Result<(), ViewError> {
        let _ = rolls_back(connection);
        Ok(Lines::add(connection, 1, "line/bad", "alone")?)
    }
    fn and_says_nothing(connection: &Connection) -> Result<(), ViewError> {
        let _ = rolls_back(connection);
        Ok(())
    }
    is_rejected(rolls_back, &["CHECK"]).await;
    is_rejected(and_says_nothing, &["did not return"]).await;
    is_rejected(and_goes_on, &["must not begin or end a transaction"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_cannot_change_tables_of_others() {
    const TABLES: [Action; 5] = [
        |connection| Ok(connection.execute_batch("DELETE FROM commits")?),
        |connection| Ok(connection.execute_batch("UPDATE view_positions SET number = 7")?),
        |connection| Ok(connection.execute_batch("DROP TABLE snapshots")?),
        |connection| Ok(connection.execute_batch("ALTER TABLE streams ADD COLUMN theirs")?),
        |connection| {
            Ok(connection.execute_batch(
                "CREATE TRIGGER theirs AFTER INSERT ON commits BEGIN DELETE FROM lines_v1; END",
            )?)
        },
    ];
    for case in TABLES {
        is_rejected(case, &["must not change the tables of events, snapshots and positions"]).await;
    }
    is_rejected(|connection| Ok(connection.execute_batch("ATTACH ':memory:' AS theirs")?), &["attach"]).await;
    const SETTINGS: [Action; 2] = [
        |connection| Ok(connection.pragma_update(None, "foreign_keys", false)?),
        |connection| Ok(connection.execute_batch("PRAGMA synchronous = OFF")?),
    ];
    for case in SETTINGS {
        is_rejected(case, &["must not change the settings"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn harmless_statements_are_allowed() {
    fn harmless(connection: &Connection) -> Result<(), ViewError> {
        connection.execute_batch(
            "SAVEPOINT own; UPDATE lines_v1 SET text = 'undone'; ROLLBACK TO own; RELEASE own;
             CREATE TEMP TABLE own (a); INSERT INTO own VALUES (1); DROP TABLE own;
             CREATE INDEX lines_by_text_v1 ON lines_v1 (text)",
        )?;
        let columns: i64 =
            connection
                .query_row("SELECT count(*) FROM pragma_table_info('lines_v1')", [], |row| row.get(0))?;
        let events: i64 = connection.query_row("SELECT count(*) FROM commits", [], |row| row.get(0))?;
        assert_eq!((columns, events), (3, 0));
        Ok(())
    }
    let place = Location::new(Lines::with_action(1, harmless)).await;
    apply(&place.view, &[&commit("line/1", 1, &["a", "action"])]).await;
    assert_eq!(line(&place.view, "line/1").await, (Some("a action".into()), Some(2)));
}

/// An error type of the caller that wraps one of SQLite's.
#[derive(Debug)]
struct Wrapped(rusqlite::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the line cannot be kept")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// A full file and a transient failure of the code are not the fault of the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_transient_error_is_never_rejected() {
    const CASES: [Action; 3] = [
        |connection| Ok(Lines::add(connection, 1, "line/bad", &"x".repeat(1 << 20))?),
        |connection| Ok(Lines::add(connection, 1, "line/bad", &"x".repeat(1 << 20)).map_err(Wrapped)?),
        |_| Err(StorageError::new(ErrorKind::Unavailable, "the other storage is down").into()),
    ];
    let said = [(ErrorKind::Refused, "full"), (ErrorKind::Refused, "full"), (ErrorKind::Unavailable, "down")];
    for (case, (kind, words)) in CASES.into_iter().zip(said) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let settings = Settings { largest_file: Some(256 * 1024), ..Settings::default() };
        let database = Database::open_with(&path, settings).await.unwrap();
        let view = SqliteView::open(&database, Lines::with_action(1, case)).await.unwrap();
        let storage: super::Storage = super::SqliteStorage::new(&database);
        let bad: Draft = commit("line/bad", 1, &["a", "action"]);
        let error = view.apply(&batch(&[&bad])).await.unwrap_err();
        assert_says(&error, kind, &["lines v1", words]);
        assert!(error.source().is_some(), "{error:?}");
        assert_eq!(line(&view, "line/bad").await, (None, None));
        assert!(matches!(storage.put(commit("user/1", 1, &["b"])).await.unwrap(), Put::Stored));
        apply(&view, &[&commit("line/bad", 1, &["a"])]).await;
        assert_eq!(view.positions_of(&[name("line/bad")]).await.unwrap()[0].position, Some(1));
    }
}
