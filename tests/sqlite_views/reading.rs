//! Reads of rows and positions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{ErrorKind, StreamName, ViewDefinition};
use eventsrc_sqlite::{Database, Settings, SqliteView, View};
use eventsrc_tests::HANG;
use rusqlite::Connection;

use super::{Lines, Location, apply, assert_says, commit, line, lines_of, name};

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_positions_are_consistent() {
    const COMMITS: u64 = 200;
    let place = Location::new(Lines::new(1)).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (view, done) = (place.view.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            for first in 1..=COMMITS {
                let commits = ["line/1", "line/2"].map(|stream| commit(stream, first, &["a"]));
                apply(&view, &[&commits[0], &commits[1]]).await;
            }
            done.store(true, Ordering::Relaxed);
        })
    };
    let streams = ["line/2", "line/1"].map(name);
    let mut seen = 0;
    while !done.load(Ordering::Relaxed) {
        let query = |connection: &Connection| {
            Ok(["line/1", "line/2"].map(|stream| lines_of(connection, "lines", stream).unwrap()))
        };
        let (places, texts) = place.view.read(&streams, query).await.unwrap();
        let position = places[0].position.unwrap_or(0);
        assert_eq!(places[1].position.unwrap_or(0), position);
        for text in texts {
            assert_eq!(text.map_or(0, |text| text.split(' ').count() as u64), position);
        }
        assert!(position >= seen);
        seen = position;
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_is_invalid() {
    let place = Location::new(Lines::new(1)).await;
    let read = |sql: &'static str| {
        let view = place.view.clone();
        async move { view.read(&[], move |c| c.query_row(sql, [], |row| row.get::<_, String>(0))).await }
    };
    for (sql, words) in [
        ("SELECT text FRM lines", "syntax error"),
        ("SELECT text FROM lines", "no rows"),
        ("SELECT 1", "type"),
    ] {
        let error = read(sql).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &["the query", words]);
    }
    assert_eq!(read("SELECT 'a'").await.unwrap().1, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { view_readers: 1, ..Settings::default() };
    let database = Database::open_with(folder.path().join("views.db"), settings).await.unwrap();
    let view = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    for (sql, words) in [
        ("DELETE FROM lines_v1", "a query must not write"),
        ("CREATE TEMP TABLE t (a)", "a query must not write"),
        ("DROP VIEW lines", "a query must not write"),
        ("PRAGMA query_only = off", "must not change the settings"),
        ("COMMIT", "must not begin or end a transaction"),
        ("ATTACH ':memory:' AS other", "must not attach"),
    ] {
        let error = view.read(&[], move |connection| connection.execute_batch(sql)).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &[words]);
        let swallow = move |connection: &Connection| {
            let _ = connection.execute_batch(sql);
            Ok(())
        };
        let quiet = view.read(&[], swallow).await.unwrap_err();
        assert_says(&quiet, ErrorKind::Invalid, &[words]);
    }
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
    let columns = view.read(&[], |c| {
        c.query_row("SELECT count(*) FROM pragma_table_info('lines'), json_each('[1]')", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    assert_eq!(columns.await.unwrap().1, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_panics_in_its_caller_and_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { view_readers: 1, ..Settings::default() };
    let database = Database::open_with(folder.path().join("views.db"), settings).await.unwrap();
    let view = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    let asking = view.clone();
    let asked = tokio::spawn(async move { asking.read::<()>(&[], |_| panic!("no such page")).await });
    assert!(asked.await.unwrap_err().is_panic());
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
}

/// Closing a file waits for its threads, and a thread cannot wait for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_drops_the_last_handle_closes_the_file() {
    let place = Location::new(Lines::new(1)).await;
    let super::Location { folder, database, storage, view } = place;
    drop(storage);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (done, closed) = tokio::sync::oneshot::channel();
    let (begun, begins) = tokio::sync::oneshot::channel();
    {
        let query = move |_: &Connection| {
            let _ = begun.send(());
            let _ = wait.recv();
            drop(database);
            let _ = done.send(());
            Ok(())
        };
        let read = std::pin::pin!(view.read(&[], query));
        let begins = std::pin::pin!(tokio::time::timeout(HANG, begins));
        let first = futures::future::select(read, begins).await;
        assert!(matches!(first, futures::future::Either::Right((Ok(Ok(())), _))), "the query waits");
    }
    drop(view);
    go.send(()).unwrap();
    tokio::time::timeout(HANG, closed).await.expect("the thread ends").unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    SqliteView::<StreamName, u64, String, _>::open(&database, Lines::new(1)).await.unwrap();
}

/// A full-text index, whose own tables SQLite reads and writes in addition to those of the code.
struct Words;

impl View<StreamName, u64, String> for Words {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("words", ["line"]).unwrap()
    }

    fn tables(&self) -> &[&str] {
        &["words"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch("CREATE VIRTUAL TABLE words_v1 USING fts5(stream UNINDEXED, text)")
    }

    fn apply(
        &self,
        transaction: &Connection,
        batch: &Batch<StreamName, u64, String>,
    ) -> Result<(), ViewError> {
        for event in batch.events() {
            if event.payload == "bad" {
                return Err("bad".into());
            }
            transaction
                .execute("INSERT INTO words_v1 VALUES (?1, ?2)", [event.key().as_str(), event.payload])?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_may_be_a_full_text_index() {
    use eventsrc_core::view::{Applied, VersionedStore, ViewStore};

    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("views.db")).await.unwrap();
    let view: SqliteView<StreamName, u64, String, Words> = SqliteView::open(&database, Words).await.unwrap();
    let commits =
        [commit("line/1", 1, &["to be or not to be"]), commit("line/2", 1, &["that is the question", "bad"])];
    for (commit, done) in commits.iter().zip([true, false]) {
        let applied = view.apply(&super::batch(&[commit])).await.unwrap();
        assert_eq!(matches!(applied, Applied::Done), done, "{applied:?}");
    }
    let found = |word: &'static str| {
        view.read(&[], move |connection| {
            connection
                .prepare("SELECT stream FROM words_v1 WHERE words_v1 MATCH ?1")?
                .query_map([word], |row| row.get::<_, String>(0))?
                .collect::<Result<Vec<_>, _>>()
        })
    };
    assert_eq!(found("not").await.unwrap().1, ["line/1"]);
    assert_eq!(found("question").await.unwrap().1, [""; 0]);
    assert_eq!(view.digest().await.unwrap().rows, 1);
}
