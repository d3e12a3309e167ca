//! Reads whose caller is gone, queries of views, and the end of a page.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;
use futures::TryStreamExt;
use futures::future::{Either, poll_immediate, select};
use rusqlite::{Connection, TransactionState};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fixture::{Folder, HANG, Storage, TextView, commit, name, two_versions};
use crate::{Database, Settings, SqliteStorage, layout};

const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

/// Runs a query that never ends by itself.
fn run_endless(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(ENDLESS, [], |row| row.get(0))
}

/// Starts `query` on a reader thread of views, and drops its future when it runs.
async fn start_and_drop(
    view: &TextView,
    query: impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send + 'static,
) {
    let (starts, started) = oneshot::channel();
    let read = Box::pin(view.read(&[], |connection| {
        let _ = starts.send(());
        query(connection)
    }));
    assert!(matches!(select(started, read).await, Either::Left((Ok(()), _))));
}

async fn one_view_reader(folder: &Folder) -> (Database, TextView) {
    let database = folder.open(Settings { view_readers: 1, readers: 1, ..Settings::default() }).await;
    let view = two_versions(&database).await.0;
    (database, view)
}

#[tokio::test]
async fn a_dropped_query_is_interrupted_and_no_later_one_is() {
    let folder = Folder::new();
    let (_database, view) = one_view_reader(&folder).await;
    for _ in 0..200 {
        start_and_drop(&view, run_endless).await;
        let next = view.read(&[], layout::last_stream);
        assert_eq!(timeout(HANG, next).await.expect("the thread is free").unwrap().1, 0);
    }
}

#[tokio::test]
async fn a_dropped_query_cannot_start_another_long_statement() {
    let folder = Folder::new();
    let (_database, view) = one_view_reader(&folder).await;
    let (go, wait) = mpsc::channel::<()>();
    start_and_drop(&view, move |connection| {
        let _ = wait.recv();
        run_endless(connection)
    })
    .await;
    drop(go);
    timeout(HANG, view.read(&[], |_| Ok(()))).await.expect("the thread is free").unwrap();
}

#[tokio::test]
async fn a_dropped_read_that_waits_is_not_run() {
    let folder = Folder::new();
    let (_database, view) = one_view_reader(&folder).await;
    let (go, wait) = mpsc::channel::<()>();
    let mut first = Box::pin(view.read(&[], move |_| Ok(wait.recv().is_err())));
    assert!(poll_immediate(&mut first).await.is_none());
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let second = Box::pin(view.read(&[], move |_| {
        flag.store(true, Ordering::Relaxed);
        Ok(())
    }));
    assert!(poll_immediate(second).await.is_none());
    drop(go);
    assert!(first.await.unwrap().1);
    view.read(&[], |_| Ok(())).await.unwrap();
    assert!(!ran.load(Ordering::Relaxed));
}

#[tokio::test]
async fn queries_of_views_do_not_delay_the_reads_of_writers() {
    let folder = Folder::new();
    let (database, view) = one_view_reader(&folder).await;
    let storage: Storage = SqliteStorage::new(&database);
    let (go, wait) = mpsc::channel::<()>();
    let mut query = Box::pin(view.read(&[], move |_| Ok(wait.recv().is_err())));
    assert!(poll_immediate(&mut query).await.is_none());
    let mut queries: Vec<_> = (0..8).map(|_| Box::pin(view.read(&[], |_| Ok(())))).collect();
    for query in &mut queries {
        assert!(poll_immediate(query).await.is_none());
    }
    let stream = name("text/1");
    let latest = storage.latest(&stream);
    assert_eq!(timeout(HANG, latest).await.expect("a reader is free").unwrap(), None);
    drop(go);
    assert!(query.await.unwrap().1);
}

/// The code of the query waits for this thread, which must not wait for the code.
#[test]
fn a_query_that_waits_for_its_caller_does_not_block_the_drop_of_the_last_handle() {
    super::fixture::must_end(async {
        let folder = Folder::new();
        let (database, view) = one_view_reader(&folder).await;
        let (go, wait) = mpsc::channel::<()>();
        start_and_drop(&view, move |_| Ok(i64::from(wait.recv().is_ok()))).await;
        drop((view, database));
        drop(go);
        folder.open(Settings::default()).await;
    });
}

#[test]
fn a_dropped_read_does_not_block_the_drop_of_the_last_handle() {
    super::fixture::must_end(async {
        let folder = Folder::new();
        let database = folder.open(Settings::default()).await;
        let (starts, started) = oneshot::channel();
        let read = Box::pin(database.read(|connection| {
            let _ = starts.send(());
            run_endless(connection)
        }));
        assert!(matches!(select(started, read).await, Either::Left((Ok(()), _))));
        drop(database);
        assert_eq!(folder.files(), 1, "the file is closed");
    });
}

#[tokio::test]
async fn no_transaction_stays_open_after_a_page_or_a_cancelled_read() {
    let folder = Folder::new();
    let settings = Settings { readers: 1, view_readers: 1, commits_per_page: 1, ..Settings::default() };
    let database = folder.open(settings).await;
    let view = two_versions(&database).await.0;
    let storage: Storage = SqliteStorage::new(&database);
    for number in 1..=3 {
        assert!(matches!(storage.put(commit("text/1", number, None, "a")).await.unwrap(), Put::Stored));
    }
    let state = |connection: &Connection| connection.transaction_state::<&str>(None);
    let mut pages = storage.events(&name("text/1"), None);
    while pages.try_next().await.unwrap().is_some() {
        assert_eq!(database.read(state).await.unwrap(), TransactionState::None);
    }
    for _ in 0..50 {
        start_and_drop(&view, run_endless).await;
        let after = database.read_view(move |connection| Ok(state(connection).unwrap()));
        assert_eq!(after.await.unwrap(), TransactionState::None);
    }
}
