//! Files as an earlier version of the library wrote them.

use eventsrc_core::view::{
    Applied, Batch, CommitRun, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition as At,
    TakeOver, VersionedStore, ViewStore,
};
use eventsrc_core::{EventStorage, Timestamp};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView};
use futures::TryStreamExt;
use rusqlite::Connection;

use super::{Lines, LinesView, Storage, apply, commit, line, name};

/// A file of version 2 of the layout, in SQL. It must not be changed.
const VERSION_2: &str = include_str!("../sqlite/version_2.sql");

fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_2_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    Connection::open(&path).unwrap().execute_batch(VERSION_2).unwrap();
    let database = Database::open(&path).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let first: LinesView = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    let second: LinesView = SqliteView::open(&database, Lines::new(2)).await.unwrap();
    assert_eq!((first.serving().await.unwrap(), second.serving().await.unwrap()), (1, 1));
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
    let stream = name("line/1");
    let poison = QuarantinedCommit {
        stream: stream.clone(),
        position: Some(1),
        sequence: 2,
        error: "no such line".into(),
        time: time(1_767_225_602_000_000),
    };
    assert_eq!(first.quarantined().await.unwrap(), [poison]);
    assert_eq!(
        first.positions_of(std::slice::from_ref(&stream)).await.unwrap(),
        [At { position: Some(1), quarantined: true }]
    );
    let positions = [("line/1", 3), ("line/2", 1), ("line/3", 4)].map(|(stream, at)| (name(stream), at));
    assert_eq!(second.positions(None, 10).await.unwrap(), positions);
    let skip = |stream, from, to, reason: &str, at| SkippedCommits {
        change: PositionChange { stream: name(stream), from, to },
        reason: reason.into(),
        time: time(at),
    };
    assert_eq!(
        second.skipped().await.unwrap(),
        [
            skip("line/2", None, 1, "of no use", 1_767_225_603_000_000),
            skip("line/3", Some(2), 4, "too late", 1_767_225_604_000_001)
        ]
    );
    let digest = second.digest().await.unwrap();
    assert_eq!((digest.rows, digest.hash.as_str()), (2, DIGEST));

    // The view continues from there.
    assert!(first.release(&stream).await.unwrap());
    let pages: Vec<_> = storage.events(&stream, Some(2)).try_collect().await.unwrap();
    let run = CommitRun { stream, from: Some(1), commits: pages[0].commits().to_vec() };
    assert!(matches!(first.apply(&Batch::new(vec![run])).await.unwrap(), Applied::Done));
    assert_eq!(line(&first, "line/1").await, (Some("a b c".into()), Some(3)));
    let level = Box::new(|moves| panic!("it lies nowhere behind: {moves:?}"));
    assert!(matches!(second.take_over(level).await.unwrap(), TakeOver::Done));
    assert_eq!(line(&first, "line/3").await, (Some("d".into()), Some(4)));
}

/// The digest of the rows of version 2 of the view in that file. Digests must not change between releases.
const DIGEST: &str = "ddcea3fcef5080f86a4122c355026489";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_can_have_views() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../sqlite/version_1.sql")).unwrap();
    let database = Database::open(&path).await.unwrap();
    let view: LinesView = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
    let storage: Storage = SqliteStorage::new(&database);
    assert_eq!(storage.latest(&name("user/1")).await.unwrap().map(|head| head.sequence), Some(3));
}
