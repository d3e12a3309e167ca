//! Damaged payloads.

use std::error::Error;

use eventsrc_core::codec::{Codec, CodecError, Json};
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_sqlite::{Database, Settings, SqliteStorage};
use futures::TryStreamExt;
use rusqlite::Connection;

use super::{Storage, assert_says, commit, commits, name, open, store};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_is_named_and_blocks_no_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    store(&storage, &commit("user/1", 1, &["a", "b"])).await;
    store(&storage, &commit("user/1", 3, &["c", "spoilt", "d"])).await;
    let other = Connection::open(&path).unwrap();
    let spoil = r#"UPDATE commits SET payloads = '["c",spoilt$,"d"]' WHERE number = 3"#;
    assert_eq!(other.execute(spoil, []).unwrap(), 1);

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
async fn a_payload_of_a_version_that_is_not_known_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    store(&storage, &commit("user/1", 1, &["a"])).await;
    Connection::open(&path).unwrap().execute("UPDATE commits SET version = 9", []).unwrap();
    let error = storage.events(&name("user/1"), None).try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Unsupported, &["version 9", "user/1", "sequence 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_commit_is_named() {
    let tampered = [
        ("UPDATE commits SET commit_id = x'00' WHERE number = 2", "commit_id"),
        ("UPDATE commits SET zone = 70000 WHERE number = 2", "zone"),
        ("UPDATE commits SET zone = 7 WHERE number = 2", "zone of another type"),
        ("UPDATE commits SET count = 3 WHERE number = 2", "count"),
        ("UPDATE commits SET metadata = '{' WHERE number = 2", "metadata"),
        ("UPDATE commits SET time = 9223372036854775807 WHERE number = 2", "time"),
        ("UPDATE commits SET payloads = 7 WHERE number = 2", "payloads"),
        ("UPDATE commits SET payloads = x'5B5D' WHERE number = 2", "payloads of another codec"),
        ("UPDATE commits SET lengths = x'FF' WHERE number = 2", "lengths"),
    ];
    for (sql, what) in tampered {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let storage = open(&path).await;
        store(&storage, &commit("user/1", 1, &["a"])).await;
        store(&storage, &commit("user/1", 2, &["b"])).await;
        assert_eq!(Connection::open(&path).unwrap().execute(sql, []).unwrap(), 1);
        let mut pages = storage.events(&name("user/1"), None);
        assert_eq!(pages.try_next().await.unwrap().unwrap().events().count(), 1, "{what}");
        let error = pages.try_next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
        assert_eq!((error.stream(), error.sequence()), (Some("user/1"), Some("2")), "{what}: {error:?}");
        let error = storage.scan(Segment::ALL).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
    }
}

/// A codec that panics.
struct Panicking;

impl Codec<String> for Panicking {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Json.encode(value, bytes)
    }

    fn decode(&self, _: u32, _: &[u8]) -> Result<String, CodecError> {
        panic!("a codec panics")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_panics_in_its_caller_and_stops_no_other_reader() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { readers: 1, ..Settings::default() };
    let database = Database::open_with(folder.path().join("events.db"), settings).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    store(&storage, &commit("user/1", 1, &["a"])).await;
    let panicking: SqliteStorage<StreamName, u64, String, _> =
        SqliteStorage::with_codec(&database, Panicking);
    let read =
        tokio::spawn(async move { panicking.events(&name("user/1"), None).try_next().await.map(drop) });
    assert!(read.await.unwrap_err().is_panic());
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
}
