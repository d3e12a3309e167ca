//! Damaged rows.

use std::error::Error;

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Snapshot};
use eventsrc_postgres::{Postgres, PostgresSnapshots};
use futures::TryStreamExt;
use tokio_postgres::Client;

use super::{assert_says, client, commit, database, name, open, store};

/// A client that can change the stored rows.
async fn vandal(url: &str) -> Client {
    let client = client(url).await;
    client.batch_execute("ALTER TABLE eventsrc.commits DISABLE TRIGGER append_only").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_is_named_and_blocks_no_writer() {
    let url = database().await;
    let storage = open(&url).await;
    store(&storage, &commit("user/1", 1, &["a", "b"])).await;
    store(&storage, &commit("user/1", 3, &["c", "spoilt", "d"])).await;
    let spoil = r#"UPDATE eventsrc.commits SET payload_text = '["c",spoilt$,"d"]' WHERE number = 3"#;
    assert_eq!(vandal(&url).await.execute(spoil, &[]).await.unwrap(), 1);

    let mut pages = storage.events(&name("user/1"), None);
    let before = pages.try_next().await.unwrap().unwrap();
    assert_eq!(before.events().map(|event| event.payload.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let error = pages.try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Corrupt, &["version 1", "user/1", "sequence 4"]);
    assert!(error.source().is_some(), "{error:?}");
    assert!(pages.try_next().await.unwrap().is_none(), "an error is the end");

    let mut pages = storage.scan(Segment::ALL);
    assert!(pages.try_next().await.unwrap().is_some());
    let error = pages.try_next().await.unwrap_err();
    assert_eq!((error.stream(), error.sequence()), (Some("user/1"), Some("4")));

    assert_eq!(storage.latest(&name("user/1")).await.unwrap().map(|head| head.sequence), Some(5));
    let heads: Vec<_> = storage.heads(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(heads.concat().len(), 1);
    let Put::Conflict(conflict) = storage.put(commit("user/1", 4, &["e"])).await.unwrap() else {
        panic!("4 is taken");
    };
    assert!(conflict.existing.is_none(), "it cannot be read");
    assert_eq!(conflict.head.map(|head| head.sequence), Some(5));
    store(&storage, &commit("user/1", 6, &["e"])).await;
    let pages: Vec<_> = storage.events(&name("user/1"), Some(6)).try_collect().await.unwrap();
    assert_eq!(pages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_commit_is_named() {
    let tampered = [
        ("zone = 70000", "zone"),
        ("zone = -1", "zone below zero"),
        ("zone = 7", "zone of another type"),
        ("count = 3", "count"),
        ("count = -3", "count below zero"),
        ("version = 9", "version of the future"),
        ("version = -9", "version below zero"),
        ("metadata = '{'", "metadata"),
        ("time = 9223372036854775807", "time"),
        ("payload_text = NULL", "no payload"),
        ("payload_bytes = 'ab'", "two payloads"),
        ("payload_text = NULL, payload_bytes = '[]'", "payloads of another codec"),
        ("lengths = '\\xff'", "lengths"),
    ];
    let url = database().await;
    let (storage, vandal) = (open(&url).await, vandal(&url).await);
    for (change, what) in tampered {
        vandal.batch_execute("TRUNCATE eventsrc.commits").await.unwrap();
        store(&storage, &commit("user/1", 1, &["a"])).await;
        store(&storage, &commit("user/1", 2, &["b"])).await;
        let sql = format!("UPDATE eventsrc.commits SET {change} WHERE number = 2");
        assert_eq!(vandal.execute(&sql, &[]).await.unwrap(), 1);
        let mut pages = storage.events(&name("user/1"), None);
        assert_eq!(pages.try_next().await.unwrap().unwrap().events().count(), 1, "{what}");
        let error = pages.try_next().await.err().unwrap_or_else(|| panic!("{what} was left out"));
        assert!(error.kind().is_unreadable(), "{what}: {error:?}");
        assert_eq!((error.stream(), error.sequence()), (Some("user/1"), Some("2")), "{what}: {error:?}");
        let error = storage.scan(Segment::ALL).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.kind().is_unreadable(), "{what}: {error:?}");
        let put = storage.put(commit("user/1", 2, &["c"])).await;
        assert!(!matches!(put, Ok(Put::Stored | Put::Repeated { .. })), "{what}: {put:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_named() {
    let url = database().await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let snapshots: PostgresSnapshots<u32, u64, String> = PostgresSnapshots::new(&postgres, "names");
    let draft = commit("user/1", 5, &["a"]);
    let snapshot = Snapshot::new(Some("Ada".to_owned()), Some(draft.head()));
    let vandal = client(&url).await;
    for change in ["value_text = '{'", "value_bytes = 'a'", "zone = 70000", "version = 9", "number = -1"] {
        vandal.batch_execute("DELETE FROM eventsrc.cached").await.unwrap();
        snapshots.put(&1, 1, &snapshot, SnapshotMode::Cache).await.unwrap();
        assert_eq!(snapshots.get(&1, 1, SnapshotAt::Latest).await.unwrap().as_ref(), Some(&snapshot));
        let sql = format!("UPDATE eventsrc.cached SET {change}");
        assert_eq!(vandal.execute(&sql, &[]).await.unwrap(), 1);
        let error = snapshots.get(&1, 1, SnapshotAt::Latest).await.unwrap_err();
        assert_says(&error, ErrorKind::Corrupt, &["names"]);
    }
}
