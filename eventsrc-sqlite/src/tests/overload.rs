//! Queues that are full.

use std::sync::mpsc;

use eventsrc_core::snapshot::{SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, Snapshot};
use futures::future::{join_all, poll_immediate};

use super::fixture::{Folder, Storage, commit, hold, name};
use crate::{Settings, SqliteSnapshots, SqliteStorage};

#[tokio::test]
async fn a_put_beyond_the_waiting_commits_is_overloaded_and_stores_nothing() {
    let folder = Folder::new();
    let database = folder.open(Settings { waiting_commits: 3, ..Settings::default() }).await;
    let storage: Storage = SqliteStorage::new(&database);
    let held = hold(&folder.path());
    let mut puts: Vec<_> =
        (0..3).map(|stream| Box::pin(storage.put(commit(&format!("text/{stream}"), 1, None, "a")))).collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none());
    }
    let error = storage.put(commit("text/3", 1, None, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    assert_eq!((error.stream(), error.sequence()), (Some("text/3"), Some("1")), "{error:?}");
    let snapshots: SqliteSnapshots<u32, u64, String> = SqliteSnapshots::new(&database, "texts");
    let snapshot = Snapshot::new(None, Some(commit("text/0", 1, None, "a").head()));
    let error = snapshots.put(&1, 1, &snapshot, SnapshotMode::Cache).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    assert_eq!(storage.latest(&name("text/3")).await.unwrap(), None);
    assert!(matches!(storage.put(commit("text/3", 1, None, "a")).await.unwrap(), Put::Stored));
}

#[tokio::test]
async fn a_put_beyond_the_waiting_bytes_is_overloaded() {
    let folder = Folder::new();
    let database = folder.open(Settings { waiting_bytes: 1000, ..Settings::default() }).await;
    let storage: Storage = SqliteStorage::new(&database);
    let held = hold(&folder.path());
    let text = "x".repeat(2000);
    let mut large = Box::pin(storage.put(commit("text/1", 1, None, &text)));
    assert!(poll_immediate(&mut large).await.is_none(), "one commit may be larger");
    let error = storage.put(commit("text/2", 1, None, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    drop(held);
    assert!(matches!(large.await.unwrap(), Put::Stored));
    assert!(matches!(storage.put(commit("text/2", 1, None, "a")).await.unwrap(), Put::Stored));
}

#[tokio::test]
async fn a_read_beyond_the_waiting_reads_is_overloaded() {
    let folder = Folder::new();
    let settings = Settings { readers: 1, waiting_reads: 2, ..Settings::default() };
    let database = folder.open(settings).await;
    let (release, released) = mpsc::channel::<()>();
    let (starts, started) = tokio::sync::oneshot::channel();
    let mut first = Box::pin(database.read(move |_| {
        let _ = starts.send(());
        let _ = released.recv();
        Ok(())
    }));
    assert!(poll_immediate(&mut first).await.is_none());
    started.await.unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(database.read(|_| Ok(())))).collect();
    for read in &mut waiting {
        assert!(poll_immediate(read).await.is_none());
    }
    let error = database.read(|_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    drop(release);
    first.await.unwrap();
    for read in join_all(waiting).await {
        read.unwrap();
    }
    database.read(|_| Ok(())).await.unwrap();
}
