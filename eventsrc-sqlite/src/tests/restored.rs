//! Files that another connection restores while they are open.

use std::path::Path;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage};
use futures::TryStreamExt;
use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::fixture::{Folder, Storage, Text, commit, name};
use crate::{Database, Settings, SqliteStorage, layout};

/// Copies the database at `from` over the pages of the one at `to`, which may be open.
fn restore(from: &Path, to: &Path) {
    let (from, mut to) = (Connection::open(from).unwrap(), Connection::open(to).unwrap());
    Backup::new(&from, &mut to).unwrap().step(-1).unwrap();
}

async fn put(storage: &Storage, commit: &Text) {
    assert!(matches!(storage.put(commit.clone()).await.unwrap(), Put::Stored));
}

async fn texts(storage: &Storage, stream: &str) -> Vec<String> {
    let pages: Vec<_> = storage.events(&name(stream), None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.commits()).map(|commit| commit.payloads[0].clone()).collect()
}

#[tokio::test]
async fn a_writer_finds_the_streams_of_a_file_that_was_restored_while_it_is_open() {
    let folder = Folder::new();
    let backup = folder.path().with_file_name("backup.db");
    {
        let other: Storage = SqliteStorage::new(&Database::open(&backup).await.unwrap());
        put(&other, &commit("text/c", 1, None, "c1")).await;
        put(&other, &commit("text/b", 1, None, "b1")).await;
    }
    let storage: Storage = SqliteStorage::new(&folder.open(Settings::default()).await);
    for stream in ["text/a", "text/b", "text/c"] {
        put(&storage, &commit(stream, 1, None, "lost")).await;
    }
    restore(&backup, &folder.path());

    // The row ids of the streams are others now, and the stream a is gone.
    put(&storage, &commit("text/b", 2, Some(&commit("text/b", 1, None, "")), "b2")).await;
    put(&storage, &commit("text/c", 2, Some(&commit("text/c", 1, None, "")), "c2")).await;
    put(&storage, &commit("text/a", 1, None, "a1")).await;
    assert_eq!(texts(&storage, "text/a").await, ["a1"]);
    assert_eq!(texts(&storage, "text/b").await, ["b1", "b2"]);
    assert_eq!(texts(&storage, "text/c").await, ["c1", "c2"]);
}

#[tokio::test]
async fn a_restored_file_without_streams_gets_them_again() {
    let folder = Folder::new();
    let storage: Storage = SqliteStorage::new(&folder.open(Settings::default()).await);
    let backup = folder.path().with_file_name("backup.db");
    let statement = format!("VACUUM INTO '{}'", backup.display());
    Connection::open(folder.path()).unwrap().execute(&statement, []).unwrap();
    put(&storage, &commit("text/a", 1, None, "lost")).await;
    restore(&backup, &folder.path());
    assert_eq!(storage.latest(&name("text/a")).await.unwrap(), None);
    put(&storage, &commit("text/b", 1, None, "b1")).await;
    put(&storage, &commit("text/a", 1, None, "a1")).await;
    assert_eq!(texts(&storage, "text/a").await, ["a1"]);
    assert_eq!(texts(&storage, "text/b").await, ["b1"]);
}

/// The pages of one read are of one stream, although each is read on its own.
#[tokio::test]
async fn a_read_across_a_restore_returns_no_events_of_another_stream() {
    let folder = Folder::new();
    let settings = Settings { commits_per_page: 1, ..Settings::default() };
    let storage: Storage = SqliteStorage::new(&folder.open(settings).await);
    put(&storage, &commit("text/a", 1, None, "a1")).await;
    put(&storage, &commit("text/a", 2, None, "a2")).await;
    let backup = folder.path().with_file_name("backup.db");
    {
        let other: Storage = SqliteStorage::new(&Database::open(&backup).await.unwrap());
        put(&other, &commit("text/b", 1, None, "b1")).await;
        put(&other, &commit("text/b", 2, None, "b2")).await;
    }
    let key = name("text/a");
    let mut pages = storage.events(&key, None);
    assert_eq!(pages.try_next().await.unwrap().unwrap().commits()[0].payloads[0], "a1");
    restore(&backup, &folder.path());
    assert!(pages.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_to_a_file_that_was_restored_to_another_layout_is_refused() {
    let folder = Folder::new();
    let storage: Storage = SqliteStorage::new(&folder.open(Settings::default()).await);
    put(&storage, &commit("text/a", 1, None, "a1")).await;
    let backup = folder.path().with_file_name("backup.db");
    for (setting, value, word) in [("user_version", 2, "version 2"), ("application_id", 7, "another program")]
    {
        let statement = format!("VACUUM INTO '{}'", backup.display());
        Connection::open(folder.path()).unwrap().execute(&statement, []).unwrap();
        Connection::open(&backup).unwrap().pragma_update(None, setting, value).unwrap();
        restore(&backup, &folder.path());
        for _ in 0..2 {
            let error = storage.put(commit("text/b", 1, None, "b1")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
            assert!(error.to_string().contains(word) && error.to_string().contains("events.db"), "{error}");
        }
        std::fs::remove_file(&backup).unwrap();
        let connection = Connection::open(folder.path()).unwrap();
        connection.pragma_update(None, "application_id", i32::from_be_bytes(*b"evsr")).unwrap();
        connection.pragma_update(None, "user_version", layout::VERSION).unwrap();
    }
    put(&storage, &commit("text/b", 1, None, "b1")).await;
}
