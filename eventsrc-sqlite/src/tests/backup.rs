//! Backups of open databases, and what is done with them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage};
use futures::TryStreamExt;
use futures::future::{join_all, poll_immediate};
use rusqlite::Connection;

use super::fixture::{Folder, Storage, Text, TextView, commit, name, two_versions};
use crate::{Database, Settings, SqliteStorage};

fn target(folder: &Folder) -> PathBuf {
    folder.path().with_file_name("backup.db")
}

/// Names of the files of the folder.
fn files(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path().parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn put(storage: &Storage, commit: &Text) {
    assert!(matches!(storage.put(commit.clone()).await.unwrap(), Put::Stored));
}

/// Sequences of the stream.
async fn sequences(storage: &Storage, stream: u64) -> Vec<u64> {
    let pages: Vec<_> = storage.events(&name(&format!("text/{stream}")), None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.commits()).map(|commit| commit.first).collect()
}

const WRITERS: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let storage: Storage = SqliteStorage::new(&database);
    let done = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let writers: Vec<_> = (0..WRITERS)
        .map(|stream| {
            let (storage, done, acknowledged) =
                (storage.clone(), Arc::clone(&done), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let (mut last, mut number) = (None, 0);
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    let next = commit(&format!("text/{stream}"), number, last.as_ref(), &"x".repeat(500));
                    put(&storage, &next).await;
                    acknowledged[stream as usize].store(number, Ordering::Release);
                    last = Some(next);
                }
                number
            })
        })
        .collect();
    let mut backups = Vec::new();
    for round in 0..5 {
        while acknowledged.iter().any(|count| count.load(Ordering::Acquire) < 20 * (round + 1)) {
            tokio::task::yield_now().await;
        }
        let before: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::Acquire)).collect();
        let path = folder.path().with_file_name(format!("backup-{round}.db"));
        database.backup(&path).await.unwrap();
        backups.push((path, before));
    }
    done.store(true, Ordering::Relaxed);
    let ends: Vec<u64> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    for (path, before) in backups {
        let check: String = Connection::open(&path)
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        let copy: Storage = SqliteStorage::new(&Database::open(&path).await.unwrap());
        for stream in 0..WRITERS {
            let found = sequences(&copy, stream).await;
            let last = found.len() as u64;
            assert_eq!(found, (1..=last).collect::<Vec<_>>(), "dense");
            assert!((before[stream as usize]..=ends[stream as usize]).contains(&last), "{last}, {before:?}");
        }
    }
}

#[tokio::test]
async fn a_backup_has_the_views_and_no_log() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let _views: (TextView, TextView) = two_versions(&database).await;
    database.backup(target(&folder)).await.unwrap();
    drop((database, _views));
    assert_eq!(files(&folder), ["backup.db", "events.db"]);
    let restored = Database::open(target(&folder)).await.unwrap();
    let positions = "SELECT count(*) FROM view_positions";
    let count = |connection: &Connection| connection.query_row(positions, [], |row| row.get::<_, i64>(0));
    assert_eq!(restored.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn a_backup_overwrites_no_file() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    for content in ["notes", ""] {
        fs::write(target(&folder), content).unwrap();
        let error = database.backup(target(&folder)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.to_string().contains("backup.db"), "{error}");
        assert_eq!(fs::read_to_string(target(&folder)).unwrap(), content);
    }
    let error = database.backup(folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(files(&folder), ["backup.db", "events.db", "events.db-shm", "events.db-wal"]);
}

#[tokio::test]
async fn a_backup_that_fails_or_is_dropped_leaves_nothing() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let error = database.backup(folder.path().with_file_name("nowhere").join("backup.db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let storage: Storage = SqliteStorage::new(&database);
    put(&storage, &commit("text/1", 1, None, &"x".repeat(8 << 20))).await;
    {
        let mut backup = Box::pin(database.backup(target(&folder)));
        assert!(poll_immediate(&mut backup).await.is_none());
    }
    // A table that cannot be read makes the backup fail after it has begun to write.
    let damage = "CREATE TABLE damaged (a); PRAGMA writable_schema = on;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema
            WHERE name = 'sqlite_autoindex_streams_1') WHERE name = 'damaged'";
    Connection::open(folder.path()).unwrap().execute_batch(damage).unwrap();
    let error = database.backup(target(&folder)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("backup.db"), "{error:?}");
    drop((storage, database));
    assert_eq!(files(&folder), ["events.db"]);
}

#[tokio::test]
async fn a_deleted_file_is_not_backed_up() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    fs::remove_file(folder.path()).unwrap();
    assert_eq!(database.backup(target(&folder)).await.unwrap_err().kind(), ErrorKind::Refused);
    assert!(!target(&folder).exists());
}

/// The steps of the guide: stop the processes, move the file with its log away, and move the backup into its place.
#[tokio::test]
async fn a_restored_backup_refuses_what_has_seen_more() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let storage: Storage = SqliteStorage::new(&database);
    let kept = commit("text/1", 1, None, "kept");
    put(&storage, &kept).await;
    database.backup(target(&folder)).await.unwrap();
    let lost = commit("text/1", 2, Some(&kept), "lost");
    put(&storage, &lost).await;

    drop((storage, database));
    fs::rename(folder.path(), folder.path().with_file_name("lost.db")).unwrap();
    fs::rename(target(&folder), folder.path()).unwrap();
    let restored: Storage = SqliteStorage::new(&folder.open(Settings::default()).await);
    assert_eq!(sequences(&restored, 1).await, [1]);
    let error = restored.put(commit("text/1", 3, Some(&lost), "knows more")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error:?}");
    put(&restored, &commit("text/1", 2, Some(&kept), "goes on")).await;
}
