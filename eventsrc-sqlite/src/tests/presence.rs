//! Files that are deleted, moved or replaced under an open database.

use std::fs;
use std::path::{Path, PathBuf};

use eventsrc_core::storage::Put;
use eventsrc_core::view::ViewStore;
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use futures::TryStreamExt;
use rusqlite::Connection;

use super::fixture::{Storage, Text, TextView, commit, name};
use crate::work::WorkOutcome;
use crate::{Database, SqliteStorage, SqliteView};

/// An open database in a directory of its own, with one commit.
struct Open {
    folder: tempfile::TempDir,
    database: Database,
    storage: Storage,
    first: Text,
}

impl Open {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("place")).unwrap();
        let database = Database::open(folder.path().join("place/events.db")).await.unwrap();
        let storage = SqliteStorage::new(&database);
        let first = commit("text/1", 1, None, "a");
        put(&storage, &first).await;
        Self { folder, database, storage, first }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("place/events.db")
    }

    fn second(&self) -> Text {
        commit("text/1", 2, Some(&self.first), "b")
    }

    /// Fails unless a save and each kind of read are refused with an error that names `what`.
    async fn assert_refuses_all(&self, what: &str) {
        let assert_refused = |error: StorageError| {
            assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
            let text = error.to_string();
            assert!(
                text.contains("events.db") && text.contains(what) && text.contains("open it again"),
                "{text}"
            );
        };
        for _ in 0..2 {
            assert_refused(self.storage.put(self.second()).await.unwrap_err());
        }
        assert_refused(self.storage.latest(&name("text/1")).await.unwrap_err());
        let events = self.storage.events(&name("text/1"), None).try_collect::<Vec<_>>().await;
        assert_refused(events.unwrap_err());
        let view: Result<TextView, _> = SqliteView::open(&self.database, super::fixture::Texts(1)).await;
        assert_refused(view.unwrap_err());
    }
}

async fn put(storage: &Storage, commit: &Text) {
    assert!(matches!(storage.put(commit.clone()).await.unwrap(), Put::Stored));
}

/// Last sequence of the stream in the file at `path`, which is opened again.
async fn reopened(path: &Path) -> Option<u64> {
    let storage: Storage = SqliteStorage::new(&Database::open(path).await.unwrap());
    storage.latest(&name("text/1")).await.unwrap().map(|head| head.sequence)
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

#[tokio::test]
async fn nothing_is_acknowledged_in_a_deleted_file() {
    let open = Open::new().await;
    fs::remove_file(open.path()).unwrap();
    open.assert_refuses_all("events.db was deleted").await;
}

#[tokio::test]
async fn nothing_is_acknowledged_in_a_file_that_another_one_replaced() {
    let open = Open::new().await;
    let other = open.folder.path().join("other.db");
    drop(Database::open(&other).await.unwrap());
    fs::rename(&other, open.path()).unwrap();
    open.assert_refuses_all("replaced").await;
    let path = open.path();
    let Open { folder: _folder, database, storage, .. } = open;
    drop((database, storage));
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(sibling(&path, suffix));
    }
    assert_eq!(reopened(&path).await, None);
}

#[tokio::test]
async fn nothing_is_acknowledged_in_a_moved_directory_until_it_is_back() {
    let open = Open::new().await;
    let (place, moved) = (open.folder.path().join("place"), open.folder.path().join("moved"));
    fs::rename(&place, &moved).unwrap();
    open.assert_refuses_all("moved").await;
    fs::rename(&moved, &place).unwrap();
    assert_eq!(open.storage.latest(&name("text/1")).await.unwrap().map(|head| head.sequence), Some(1));
    put(&open.storage, &open.second()).await;
    let path = open.path();
    let Open { folder: _folder, database, storage, .. } = open;
    drop((database, storage));
    assert_eq!(reopened(&path).await, Some(2));
}

/// The close writes what the database has into the file, so that all that was acknowledged is there.
#[tokio::test]
async fn nothing_is_acknowledged_after_the_log_was_deleted_and_nothing_is_lost_at_the_close() {
    for suffix in ["-wal", "-shm"] {
        let open = Open::new().await;
        fs::remove_file(sibling(&open.path(), suffix)).unwrap();
        open.assert_refuses_all(suffix).await;
        let path = open.path();
        let Open { folder: _folder, database, storage, .. } = open;
        drop((database, storage));
        assert_eq!(reopened(&path).await, Some(1), "{suffix}");
    }
}

/// A file that another process has made in the place of the log is its own.
#[tokio::test]
async fn a_close_does_not_touch_the_log_of_another_process() {
    let open = Open::new().await;
    let log = sibling(&open.path(), "-wal");
    fs::remove_file(&log).unwrap();
    fs::write(&log, "the log of another process").unwrap();
    open.assert_refuses_all("-wal").await;
    let Open { folder: _folder, database, storage, .. } = open;
    drop((database, storage));
    assert_eq!(fs::read_to_string(&log).unwrap(), "the log of another process");
}

#[tokio::test]
async fn a_write_whose_file_is_deleted_before_it_commits_is_not_acknowledged() {
    let open = Open::new().await;
    let path = open.path();
    let written = open.database.transact(move |connection| {
        connection.execute("DELETE FROM snapshots", []).unwrap();
        connection.execute("INSERT INTO streams (category, id) VALUES ('a', 'b')", []).unwrap();
        fs::remove_file(&path).unwrap();
        Ok(WorkOutcome::Commit(()))
    });
    let error = StorageError::from(written.await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(!error.kind().stores_nothing());
}

/// Threads for queries of views open the file with the first query.
#[tokio::test]
async fn a_query_is_not_answered_from_a_file_that_replaced_the_open_one() {
    let open = Open::new().await;
    let view: TextView = SqliteView::open(&open.database, super::fixture::Texts(1)).await.unwrap();
    let (own, other) = (open.folder.path().join("own.db"), open.folder.path().join("other.db"));
    open.database.backup(&other).await.unwrap();
    put(&open.storage, &open.second()).await;
    fs::rename(open.path(), &own).unwrap();
    fs::rename(&other, open.path()).unwrap();
    let count =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM commits", [], |row| row.get(0));
    let error = view.read::<i64>(&[], count).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(view.quarantined().await.is_err());
    fs::rename(&own, open.path()).unwrap();
    assert_eq!(view.read::<i64>(&[], count).await.unwrap().1, 2, "the thread reads the file that is back");
}

/// The log of the file that was copied stays behind, and the copy is an older state. SQLite cannot tell it from a closed file,
/// and a writer that knows more notices it.
#[tokio::test]
async fn a_copy_without_its_log_is_an_older_state_that_a_writer_notices() {
    let open = Open::new().await;
    let copy = open.folder.path().join("copy.db");
    // Another process copies it: to close the file in this one would release SQLite's locks.
    assert!(std::process::Command::new("cp").args([open.path(), copy.clone()]).status().unwrap().success());
    let storage: Storage = SqliteStorage::new(&Database::open(&copy).await.unwrap());
    assert_eq!(storage.latest(&name("text/1")).await.unwrap(), None);
    let error = storage.put(open.second()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error:?}");
}

/// A database with `streams` streams in the file and `more` in its log, as a crashed process leaves it.
fn crashed(folder: &Path, file: &str, streams: u64, more: u64) -> PathBuf {
    let (live, path) = (folder.join("live.db"), folder.join(file));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = "x".repeat(3000);
    runtime.block_on(async {
        let fill = async |streams: std::ops::Range<u64>| {
            let database = Database::open(&live).await.unwrap();
            let storage: Storage = SqliteStorage::new(&database);
            for stream in streams {
                put(&storage, &commit(&format!("{file}/{stream}"), 1, None, &text)).await;
            }
            database
        };
        drop(fill(0..streams).await);
        let database = fill(streams..streams + more).await;
        for suffix in ["", "-wal"] {
            let (from, to) = (sibling(&live, suffix), sibling(&path, suffix));
            assert!(std::process::Command::new("cp").args([from, to]).status().unwrap().success());
        }
        drop(database);
    });
    fs::remove_file(live).unwrap();
    path
}

#[test]
fn a_file_with_the_log_of_another_one_is_refused_and_left_unchanged() {
    for (own, foreign) in [((200, 1), (20, 9)), ((20, 1), (200, 9))] {
        let folder = tempfile::tempdir().unwrap();
        let path = crashed(folder.path(), "own.db", own.0, own.1);
        let other = crashed(folder.path(), "other.db", foreign.0, foreign.1);
        let (before, log) = (fs::read(&path).unwrap(), fs::read(sibling(&path, "-wal")).unwrap());
        fs::copy(sibling(&other, "-wal"), sibling(&path, "-wal")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(Database::open(&path));
        let error = error.expect_err(&format!("the log of {foreign:?} next to {own:?}"));
        assert_eq!(error.kind(), ErrorKind::Refused, "{own:?} {foreign:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("own.db") && text.contains("log"), "{text}");
        assert!(fs::read(&path).unwrap() == before, "the file is unchanged");
        fs::write(sibling(&path, "-wal"), log).unwrap();
        let storage: Storage = SqliteStorage::new(&runtime.block_on(Database::open(&path)).unwrap());
        let last = name(&format!("own.db/{}", own.0 + own.1 - 1));
        assert!(runtime.block_on(storage.latest(&last)).unwrap().is_some(), "its own log is read");
    }
}
