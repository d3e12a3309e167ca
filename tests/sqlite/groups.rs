//! Group commit: puts that wait together share one sync, and nothing else.

use std::pin::pin;
use std::sync::Arc;

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, Snapshot};
use eventsrc_sqlite::{Database, Settings, SqliteSnapshots, SqliteStorage};
use futures::future::{join_all, poll_immediate};
use rusqlite::Connection;

use super::{Storage, assert_says, commit, commits, name, open, store};

/// Another program's connection, which holds the write lock of the file until it is dropped, so that puts queue
/// up.
fn hold(database: &std::path::Path) -> Connection {
    let other = Connection::open(database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_that_wait_together_share_one_sync() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let database = Database::open(&path).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let held = hold(&path);
    let mut puts: Vec<_> =
        (0..64).map(|id| Box::pin(storage.put(commit(&format!("user/{id}"), 1, &["here"])))).collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    // The writer may have taken the first put before the others came.
    assert!(database.disk_commits() <= 2, "{} syncs", database.disk_commits());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_busy_writers_share_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let writer = |id: u64| {
        let storage = storage.clone();
        tokio::spawn(async move {
            for first in 1..=25 {
                store(&storage, &commit(&format!("user/{id}"), first, &["here"])).await;
            }
        })
    };
    for done in join_all((0..64).map(writer)).await {
        done.unwrap();
    }
    let syncs = database.disk_commits();
    assert!(syncs <= 64 * 25 / 10, "{syncs} syncs for {} commits", 64 * 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_put_does_not_fail_the_others_of_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let settings = Settings { largest_file: Some(256 * 1024), ..Settings::default() };
    let storage: Storage = SqliteStorage::new(&Database::open_with(&path, settings).await.unwrap());
    let held = hold(&path);
    let large = "x".repeat(1 << 20);
    let payloads = ["before", &large, "after"];
    let mut puts: Vec<_> = (0..)
        .zip(payloads)
        .map(|(id, text)| Box::pin(storage.put(commit(&format!("user/{id}"), 1, &[text]))))
        .collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    let [before, large, after] = <[_; 3]>::try_from(join_all(puts).await).unwrap();
    assert!(matches!((before.unwrap(), after.unwrap()), (Put::Stored, Put::Stored)));
    assert_says(&large.unwrap_err(), ErrorKind::Refused, &["full", "user/1", "sequence 1"]);
    assert_eq!(storage.latest(&name("user/1")).await.unwrap(), None);
    assert_eq!(commits(&storage, "user/2").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_commit_fails_all_its_puts_and_stores_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    store(&storage, &commit("user/1", 1, &["before"])).await;
    // A deferred constraint is checked only at COMMIT.
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TABLE child (parent REFERENCES streams DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER broken AFTER INSERT ON commits BEGIN INSERT INTO child VALUES (-1); END;
             BEGIN IMMEDIATE",
        )
        .unwrap();
    let drafts = [commit("user/1", 2, &["a"]), commit("user/2", 1, &["b"])];
    let mut puts: Vec<_> = drafts.iter().map(|draft| Box::pin(storage.put(Arc::clone(draft)))).collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    other.execute_batch("COMMIT").unwrap();
    for put in join_all(puts).await {
        let error = put.unwrap_err();
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
        assert!(error.stream().is_some() && error.sequence().is_some(), "{error:?}");
    }
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
    other.execute_batch("DROP TRIGGER broken").unwrap();
    for draft in &drafts {
        store(&storage, draft).await;
        assert_eq!(commits(&storage, draft.key.as_str()).await.last(), Some(draft));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_put_that_still_waits_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    let draft = commit("user/1", 1, &["a", "b"]);
    let held = hold(&path);
    {
        let put = pin!(storage.put(Arc::clone(&draft)));
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    let again = storage.put(Arc::clone(&draft)).await.unwrap();
    assert!(matches!(again, Put::Stored), "{again:?}");
    assert_eq!(commits(&storage, "user/1").await, [draft]);
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_that_nobody_waits_for_are_not_written_before_the_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    let drafts: Vec<_> = (1..=50).map(|first| commit("user/1", first, &["a"])).collect();
    let held = hold(&path);
    for draft in &drafts {
        assert!(poll_immediate(pin!(storage.put(Arc::clone(draft)))).await.is_none());
    }
    let release = std::thread::spawn(move || drop(held));
    drop(storage);
    release.join().unwrap();
    assert_eq!(commits(&open(&path).await, "user/1").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_race_for_one_file_store_each_sequence_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let handles = join_all((0..3).map(|_| open(&path))).await;
    let writers = (0..12).map(|writer| {
        let storage = handles[writer % handles.len()].clone();
        tokio::spawn(async move {
            let mut won = 0;
            for first in 1..=40 {
                match storage.put(commit("user/1", first, &["a"])).await.unwrap() {
                    Put::Stored => won += 1,
                    Put::Repeated { .. } => panic!("no commit was put twice"),
                    Put::Conflict(conflict) => {
                        assert_eq!(conflict.existing.map(|existing| existing.first), Some(first));
                        assert!(conflict.head.is_some_and(|head| head.sequence >= first));
                    }
                }
            }
            won
        })
    });
    let won: u64 = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(won, 40);
    for storage in &handles {
        assert_eq!(commits(storage, "user/1").await.len(), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_share_the_sync_of_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let database = Database::open(&path).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let snapshots: SqliteSnapshots<u32, u64, String> = SqliteSnapshots::new(&database, "names");
    let draft = commit("user/1", 1, &["a"]);
    let snapshot = Snapshot::new(Some("a".to_owned()), Some(draft.head()));
    let held = hold(&path);
    let (mut put, mut keep) = (
        Box::pin(storage.put(Arc::clone(&draft))),
        Box::pin(snapshots.put(&1, 1, &snapshot, SnapshotMode::Cache)),
    );
    assert!(poll_immediate(&mut put).await.is_none() && poll_immediate(&mut keep).await.is_none());
    drop(held);
    assert!(matches!(put.await.unwrap(), Put::Stored));
    keep.await.unwrap();
    assert!(database.disk_commits() <= 2, "{} syncs", database.disk_commits());
    assert_eq!(snapshots.get(&1, 1, SnapshotAt::Latest).await.unwrap(), Some(snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_changes_nothing_costs_no_sync() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let draft = commit("user/1", 1, &["a"]);
    store(&storage, &draft).await;
    assert!(matches!(storage.put(draft).await.unwrap(), Put::Repeated { last: 1 }));
    let conflict = storage.put(commit("user/1", 1, &["b"])).await.unwrap();
    assert!(matches!(conflict, Put::Conflict(_)));
    let hole = storage.put(commit("user/1", 3, &["b"])).await.unwrap_err();
    assert_says(&hole, ErrorKind::Diverged, &["sequence 1", "user/1", "sequence 2"]);
    assert_eq!(database.disk_commits(), 1);
}
