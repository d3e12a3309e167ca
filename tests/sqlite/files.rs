//! Files of other programs, locked files, and files that cannot be opened.

use std::fs;
use std::path::Path;
use std::time::Duration;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use eventsrc_sqlite::{Database, Settings, SqliteStorage};
use rusqlite::Connection;
use tokio::process::Command;

use super::{Storage, assert_says, commit, commits, open, store};

async fn refused(path: &Path) -> StorageError {
    Database::open(path).await.expect_err("the file is not to be opened")
}

#[tokio::test]
async fn a_file_that_is_not_sqlite_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "not a database at all, whatever its name says\n".repeat(50);
    fs::write(&path, &text).unwrap();
    let error = refused(&path).await;
    assert_says(&error, ErrorKind::Refused, &["notes.txt", "not an SQLite file"]);
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = fs::read(&path).unwrap();
    assert_says(&refused(&path).await, ErrorKind::Refused, &["other.db", "another program"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    drop(open(&path).await);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    assert_says(&refused(&path).await, ErrorKind::Refused, &["events.db", "1000", "newer"]);
}

#[tokio::test]
async fn a_missing_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&folder.path().join("nowhere").join("events.db")).await;
    assert_says(&error, ErrorKind::Refused, &["nowhere", "no directory"]);
}

#[tokio::test]
async fn a_directory_in_the_place_of_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_says(&refused(folder.path()).await, ErrorKind::Refused, &["cannot be opened"]);
}

/// The superuser can write any file, so another user is the one that is refused.
#[cfg(unix)]
#[tokio::test]
async fn a_file_without_write_permission_is_refused() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let folder = tempfile::tempdir().unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    let path = place.join("events.db");
    store(&open(&path).await, &commit("user/1", 1, &["a"])).await;
    let before = fs::read(&path).unwrap();
    let writer = folder.path().join("writer");
    fs::copy(env!("CARGO_BIN_EXE_writer"), &writer).unwrap();
    allow(folder.path(), 0o755);
    allow(&writer, 0o755);
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    let complaint = async |path: &Path| {
        let mut command = Command::new(&writer);
        command.arg(path).args(["1", "1"]);
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().await.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };

    allow(&path, 0o444);
    let said = complaint(&path).await;
    assert!(said.contains("read-only"), "a read-only file: {said}");
    allow(&path, 0o666);
    allow(&place, 0o555);
    let said = complaint(&path).await;
    assert!(said.contains("read-only"), "a file in a read-only directory: {said}");
    let said = complaint(&place.join("new.db")).await;
    assert!(said.contains("cannot be opened or created"), "a new file in a read-only directory: {said}");
    allow(&place, 0o755);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_unavailable_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let settings = Settings { busy_timeout: Duration::from_millis(20), ..Settings::default() };
    let database = Database::open_with(&path, settings.clone()).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let draft = commit("user/1", 1, &["a"]);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = storage.put(draft.clone()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["in use", "user/1", "sequence 1"]);
    assert_eq!(storage.latest(&draft.key).await.unwrap(), None, "readers do not wait");
    other.execute_batch("ROLLBACK").unwrap();
    store(&storage, &draft).await;

    drop((storage, database));
    other.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let error = Database::open_with(&path, settings.clone()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["events.db", "in use"]);
    drop(other);
    Database::open_with(&path, settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_waits_for_another_one_to_finish() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open(&path).await;
    let draft = commit("user/1", 1, &["a"]);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut put = Box::pin(storage.put(draft.clone()));
    assert!(futures::future::poll_immediate(&mut put).await.is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(put.await.unwrap(), Put::Stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_file_is_complete_without_its_log_and_can_be_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let drafts: Vec<_> = (1..=30).map(|first| commit("user/1", first, &["a"])).collect();
    for (index, drafts) in drafts.chunks(10).enumerate() {
        let storage = open(&path).await;
        assert_eq!(commits(&storage, "user/1").await.len(), 10 * index);
        for draft in drafts {
            store(&storage, draft).await;
        }
        drop(storage);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no log is left");
    }
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(commits(&open(&copy).await, "user/1").await, drafts);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_open_a_new_file_at_once_all_succeed() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let handles = futures::future::join_all((0..4).map(|_| open(&path))).await;
        for (first, storage) in (1..).zip(&handles) {
            store(storage, &commit("user/1", first, &["a"])).await;
        }
        assert_eq!(commits(&handles[0], "user/1").await.len(), 4, "round {round}");
    }
}

/// A file of version 1 of the layout, in SQL. It must not be changed.
const VERSION_1: &str = include_str!("version_1.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_1_stays_readable() {
    use eventsrc_core::Snapshot;
    use eventsrc_core::snapshot::{SnapshotAt, SnapshotStorage};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    Connection::open(&path).unwrap().execute_batch(VERSION_1).unwrap();
    let database = Database::open(&path).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let stored = commits(&storage, "user/1").await;
    let told: Vec<String> = stored
        .iter()
        .map(|commit| {
            let actor = commit.metadata.actor.as_deref().unwrap_or("nobody");
            format!(
                "{} {} {} {actor} {:?}",
                commit.first, commit.time, commit.metadata.commit_id, commit.payloads
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "1 2026-01-01T00:00:00.000001Z 019b7693-2c00-7000-8000-000000000001 nobody [\"Ada\"]",
            "2 2026-01-01T00:00:01Z 019b7693-2fe8-7000-8000-000000000002 admin [\"Ada Lovelace\", \"Countess\"]",
        ]
    );
    let other: SqliteStorage<_, u64, String, _> =
        SqliteStorage::with_codec(&database, eventsrc_core::codec::Postcard);
    assert_eq!(commits(&other, "blob/1").await[0].payloads[..], ["x", "yz"]);
    let snapshots: eventsrc_sqlite::SqliteSnapshots<String, u64, String> =
        eventsrc_sqlite::SqliteSnapshots::new(&database, "names");
    let key = "user/1".to_owned();
    let latest: Snapshot<u64, String> = snapshots.get(&key, 1, SnapshotAt::Latest).await.unwrap().unwrap();
    assert_eq!((latest.sequence(), latest.value.as_deref()), (Some(3), Some("Countess")));
    let earliest = snapshots.get(&key, 1, SnapshotAt::Earliest).await.unwrap().unwrap();
    assert!(earliest.is_deleted() && earliest.sequence() == Some(1));
    store(&storage, &commit("user/1", 4, &["goes on"])).await;
}
