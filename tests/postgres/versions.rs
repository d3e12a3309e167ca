//! Tables that are missing, newer, of an earlier version, or of another program.

use eventsrc_core::codec::Postcard;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotStorage};
use eventsrc_core::{ErrorKind, EventStorage, Snapshot};
use eventsrc_postgres::{Postgres, PostgresSnapshots, PostgresStorage, Settings};
use futures::future::join_all;

use super::{Storage, assert_says, client, commit, commits, database, open, open_with, store};

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_create_the_tables_at_once_all_succeed() {
    let url = database().await;
    for round in 0..4 {
        let settings = Settings { schema: format!("round_{round}"), ..Settings::default() };
        let handles = join_all((0..8).map(|_| open_with(&url, settings.clone()))).await;
        for (first, storage) in (1..).zip(&handles) {
            store(storage, &commit("user/1", first, &["a"])).await;
        }
        assert_eq!(commits(&handles[0], "user/1").await.len(), 8, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_one_database_are_independent() {
    let url = database().await;
    let in_schema = |schema: &str| Settings { schema: schema.into(), ..Settings::default() };
    let (one, two) = (open_with(&url, in_schema("one")).await, open_with(&url, in_schema("two")).await);
    store(&one, &commit("user/1", 1, &["a"])).await;
    assert!(commits(&two, "user/1").await.is_empty());
    let error = Postgres::connect_with(&url, in_schema("Robert'); DROP")).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["schema"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_version_are_refused() {
    let url = database().await;
    drop(open(&url).await);
    let other = client(&url).await;
    other.batch_execute("UPDATE eventsrc.versions SET version = 1000 WHERE part = 'events'").await.unwrap();
    let error = Postgres::connect(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["eventsrc", "1000", "newer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program_are_refused_and_left_alone() {
    let url = database().await;
    let other = client(&url).await;
    other.batch_execute("CREATE SCHEMA eventsrc; CREATE TABLE eventsrc.commits (theirs int)").await.unwrap();
    let error = Postgres::connect(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["eventsrc", "of that name already exists"]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'eventsrc'";
    assert_eq!(other.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 1);

    other
        .batch_execute("DROP TABLE eventsrc.commits; CREATE TABLE eventsrc.versions (theirs int)")
        .await
        .unwrap();
    let error = Postgres::connect(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["do not match this version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_are_reported_clearly() {
    let url = database().await;
    let storage = open(&url).await;
    store(&storage, &commit("user/1", 1, &["a"])).await;
    client(&url).await.batch_execute("DROP TABLE eventsrc.commits CASCADE").await.unwrap();
    let error = storage.put(commit("user/1", 2, &["b"])).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["do not match this version", "user/1", "sequence 2"]);
}

/// Tables of version 1 of the layout, in SQL. They must not be changed.
const VERSION_1: &str = include_str!("version_1.sql");

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_version_1_stay_readable() {
    let url = database().await;
    client(&url).await.batch_execute(VERSION_1).await.unwrap();
    let postgres = Postgres::connect(&url).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
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
    let other: PostgresStorage<_, u64, String, _> = PostgresStorage::with_codec(&postgres, Postcard);
    assert_eq!(commits(&other, "blob/1").await[0].payloads[..], ["x", "yz"]);
    let snapshots: PostgresSnapshots<String, u64, String> = PostgresSnapshots::new(&postgres, "names");
    let key = "user/1".to_owned();
    let latest: Snapshot<u64, String> = snapshots.get(&key, 1, SnapshotAt::Latest).await.unwrap().unwrap();
    assert_eq!((latest.sequence(), latest.value.as_deref()), (Some(3), Some("Countess")));
    let earliest = snapshots.get(&key, 1, SnapshotAt::Earliest).await.unwrap().unwrap();
    assert!(earliest.is_deleted() && earliest.sequence() == Some(1));
    store(&storage, &commit("user/1", 4, &["goes on"])).await;
}
