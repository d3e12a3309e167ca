//! Streams that 0.1.0 stored under names that are longer than those of new streams may be.

use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage};
use futures::TryStreamExt;
use rusqlite::Connection;

use super::{assert_says, commit, commits, name, open, store};

#[tokio::test]
async fn a_stored_stream_with_a_long_name_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    store(&storage, &commit("line/1", 1, &["a"])).await;
    let long = format!("line/{}", "é".repeat(9_000));
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE streams SET id = ?1", [long.trim_start_matches("line/")])
        .unwrap();
    assert_eq!(commits(&storage, &long).await.len(), 1);
    let head = storage.latest(&name(&long)).await.unwrap().unwrap();
    assert_eq!(head.sequence, 1);
    let heads: Vec<_> = storage.heads(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(heads.concat(), [(name(&long), head)]);
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(pages[0].commits()[0].key, name(&long));
    store(&storage, &commit(&long, 2, &["b"])).await;
    assert!(matches!(storage.put(commit(&long, 2, &["c"])).await.unwrap(), Put::Conflict(_)));
    let error = storage.put(commit(&format!("{long}2"), 1, &["d"])).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["18006 bytes", "16384"]);
}
