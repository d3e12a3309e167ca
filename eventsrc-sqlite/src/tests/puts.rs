//! Puts that are refused, and puts whose caller is gone.

use std::pin::pin;

use eventsrc_core::storage::{Diverged, Put};
use eventsrc_core::{ErrorKind, EventStorage};
use futures::future::poll_immediate;

use super::fixture::{Folder, Storage, commit, hold, name};
use crate::{Settings, SqliteStorage, layout};

#[tokio::test]
async fn a_put_that_does_not_follow_the_end_is_diverged_and_leaves_no_row() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let storage: Storage = SqliteStorage::new(&database);
    let refuse = async |draft| {
        let error = storage.put(draft).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{error:?}");
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<Diverged>()), "{error:?}");
    };
    refuse(commit("text/1", 2, None, "beyond the start")).await;
    let row = database.read(|connection| layout::stream(connection, &name("text/1"))).await.unwrap();
    assert_eq!((row, database.disk_commits()), (None, 0));

    let first = commit("text/1", 1, None, "first");
    let second = commit("text/1", 2, Some(&first), "second");
    assert!(matches!(storage.put(first.clone()).await.unwrap(), Put::Stored));
    refuse(commit("text/1", 2, Some(&second), "after another commit")).await;
    refuse(commit("text/1", 3, None, "beyond the end")).await;
    assert!(matches!(storage.put(second.clone()).await.unwrap(), Put::Stored));
    assert!(matches!(storage.put(second.clone()).await.unwrap(), Put::Repeated { last: 2 }));
    assert!(matches!(storage.put(commit("text/1", 1, None, "x")).await.unwrap(), Put::Repeated { last: 1 }));
    assert_eq!(storage.recent(&name("text/1"), 9).await.unwrap(), [second.head(), first.head()]);
    assert_eq!(storage.recent(&name("text/2"), 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_sequence_that_no_column_can_hold_is_invalid() {
    let folder = Folder::new();
    let storage: Storage = SqliteStorage::new(&folder.open(Settings::default()).await);
    let error = storage.put(commit("text/1", 1 << 63, None, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

#[tokio::test]
async fn puts_whose_callers_are_gone_are_not_written() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let storage: Storage = SqliteStorage::new(&database);
    let held = hold(&folder.path());
    for stream in 0..20 {
        let put = pin!(storage.put(commit(&format!("text/{stream}"), 1, None, "a")));
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    assert!(matches!(storage.put(commit("text/20", 1, None, "a")).await.unwrap(), Put::Stored));
    for stream in 0..20 {
        assert_eq!(storage.latest(&name(&format!("text/{stream}"))).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_dropped_put_does_not_wait_for_the_lock_of_another_process() {
    let folder = Folder::new();
    let database = folder.open(Settings { busy_timeout: super::fixture::HANG, ..Settings::default() }).await;
    let storage: Storage = SqliteStorage::new(&database);
    let held = hold(&folder.path());
    let put = Box::pin(storage.put(commit("text/1", 1, None, "a")));
    assert!(poll_immediate(put).await.is_none());
    drop((storage, database));
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    assert_eq!(folder.files(), 1);
}
