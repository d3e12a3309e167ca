//! A role that may append, and nothing else.

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Head, Snapshot, StorageError, Timestamp};
use eventsrc_postgres::{Postgres, PostgresSnapshots, PostgresStorage};
use eventsrc_test_servers as servers;
use futures::TryStreamExt;
use tokio_postgres::error::SqlState;

use super::{Storage, as_user, assert_says, client, commit, commits, database, store};

/// A new user of the server without permissions. Users belong to all databases of a server.
async fn user(name: &str) -> String {
    let admin = client(&servers::postgres().await.url()).await;
    admin.batch_execute(&format!("CREATE USER {name}")).await.unwrap();
    name.to_owned()
}

const CHANGES: [&str; 4] = [
    "UPDATE eventsrc.commits SET payload_text = '[]'",
    "UPDATE eventsrc.commits SET payload_text = '[]' WHERE false",
    "DELETE FROM eventsrc.commits",
    "TRUNCATE eventsrc.commits",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_service_appends_reads_and_keeps_snapshots_and_changes_no_event() {
    let url = database().await;
    let service = user("appender").await;
    let owner = Postgres::connect(&url).await.unwrap();
    owner.grant_service(&service).await.unwrap();
    owner.grant_service(&service).await.expect("it may be granted again");

    let postgres = Postgres::connect(&as_user(&url, &service)).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    let draft = commit("user/1", 1, &["a"]);
    store(&storage, &draft).await;
    assert!(matches!(storage.put(draft.clone()).await.unwrap(), Put::Repeated { .. }));
    assert!(matches!(storage.put(commit("user/1", 1, &["b"])).await.unwrap(), Put::Conflict(_)));
    assert_eq!(storage.latest(&draft.key).await.unwrap(), Some(draft.head()));
    assert_eq!(commits(&storage, "user/1").await, [draft]);
    assert_eq!(storage.scan(Segment::ALL).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert_eq!(storage.heads(Segment::ALL).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let snapshots: PostgresSnapshots<u32, u64, String> = PostgresSnapshots::new(&postgres, "names");
    for sequence in 1..=2 {
        let head = Some(Head { sequence, time: Timestamp::UNIX_EPOCH, commit_id: None });
        let snapshot = Snapshot::new(Some("Ada".to_owned()), head);
        for mode in [SnapshotMode::Cache, SnapshotMode::Epoch, SnapshotMode::Epoch] {
            snapshots.put(&1, 1, &snapshot, mode).await.unwrap();
        }
        assert_eq!(snapshots.get(&1, 1, SnapshotAt::Latest).await.unwrap(), Some(snapshot));
    }

    let as_service = client(&as_user(&url, &service)).await;
    let forbidden = [
        "DROP TABLE eventsrc.commits",
        "CREATE TABLE eventsrc.more (a int)",
        "UPDATE eventsrc.versions SET version = 9",
    ];
    for sql in CHANGES.into_iter().chain(forbidden) {
        let error = as_service.batch_execute(sql).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
    }
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_does_not_change_an_event_by_mistake() {
    let url = database().await;
    let storage = super::open(&url).await;
    store(&storage, &commit("user/1", 1, &["a"])).await;
    let owner = client(&url).await;
    for sql in CHANGES {
        let error = owner.batch_execute(sql).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("never changed"), "{sql}: {error:?}");
    }
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_permission_is_refused() {
    let url = database().await;
    let stranger = as_user(&url, &user("stranger").await);
    let refused = async || -> StorageError { Postgres::connect(&stranger).await.unwrap_err() };
    assert_says(&refused().await, ErrorKind::Refused, &["cannot set up the schema", "permission"]);
    let owner = Postgres::connect(&url).await.unwrap();
    assert_says(&refused().await, ErrorKind::Refused, &["permission"]);

    owner.grant_service("stranger").await.unwrap();
    let postgres = Postgres::connect(&stranger).await.unwrap();
    client(&url).await.batch_execute("REVOKE INSERT ON eventsrc.commits FROM stranger").await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    let error = storage.put(commit("user/1", 1, &["a"])).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["permission", "user/1", "sequence 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_existing_role_is_granted_permissions() {
    let postgres = Postgres::connect(&database().await).await.unwrap();
    let error = postgres.grant_service("nobody_at_all").await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["nobody_at_all"]);
    let error = postgres.grant_service("x; DROP SCHEMA eventsrc").await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["role"]);
}
