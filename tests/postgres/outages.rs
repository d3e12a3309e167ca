//! Servers that are down, are restarted, or are too busy.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_postgres::{Postgres, PostgresStorage, Settings};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Proxy, Way};
use eventsrc_testkit::history::{Load, Recorded, hammer};
use futures::TryStreamExt;

use super::{
    Storage, as_user, assert_says, client, commit, commits, database, name, open, open_with, store, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_at_the_start_is_unavailable() {
    let server = servers::postgres().await;
    let url = server.database("down").await;
    let proxy = Proxy::before(server.address()).await.unwrap();
    proxy.refuse().await;
    let error = Postgres::connect(&proxy.url(&url)).await.unwrap_err();
    assert_says(
        &error,
        ErrorKind::Unavailable,
        &["cannot connect", &proxy.address().to_string(), "no answer"],
    );
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    proxy.accept().await.unwrap();
    open(&proxy.url(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_unavailable_after_the_timeout() {
    let server = servers::postgres().await;
    let url = server.database("silent").await;
    let proxy = Proxy::before(server.address()).await.unwrap();
    proxy.stall(Way::ToClient);
    let settings = Settings { connect_timeout: Duration::from_millis(50), ..Settings::default() };
    let error = Postgres::connect_with(&proxy.url(&url), settings).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["cannot connect", "in time"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_connections_are_replaced_without_an_error() {
    let url = database().await;
    let (storage, admin) = (open(&url).await, client(&url).await);
    for first in 1..=5 {
        store(&storage, &commit("user/1", first, &["a"])).await;
        assert_eq!(commits(&storage, "user/1").await.len() as u64, first);
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(admin.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0) >= 2);
        assert_eq!(storage.latest(&name("user/1")).await.unwrap().map(|head| head.sequence), Some(first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_used_again() {
    let mut server = servers::Postgres::start().await.unwrap();
    let url = server.database("restarted").await;
    let storage = open(&url).await;
    let draft = commit("user/1", 1, &["a"]);
    store(&storage, &draft).await;
    assert_eq!(commits(&storage, "user/1").await.len(), 1);

    server.restart().await.unwrap();
    store(&storage, &commit("user/1", 2, &["b"])).await;
    assert_eq!(commits(&storage, "user/1").await.len(), 2);

    server.stop().await.unwrap();
    let next = commit("user/1", 3, &["c"]);
    let error = storage.put(Arc::clone(&next)).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["cannot connect", "user/1", "sequence 3"]);
    let error = storage.latest(&draft.key).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["user/1"]);
    let error = storage.events(&draft.key, None).try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["user/1"]);
    let error = storage.scan(Segment::ALL).try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["cannot connect"]);
    server.restart().await.unwrap();
    // Soon after a failure to connect, puts fail without another try.
    until(async || matches!(storage.put(Arc::clone(&next)).await, Ok(Put::Stored))).await;
    assert_eq!(commits(&storage, "user/1").await.len(), 3);
}

const SEED: u64 = 20_262;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed() {
    let mut server = servers::Postgres::start().await.unwrap();
    let url = server.database("killed").await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let storage: PostgresStorage<StreamName, u64, u64> = PostgresStorage::new(&postgres);
    let recorded = Arc::new(Recorded::new(storage));
    for round in 0..3 {
        let (raced, before) = (Arc::clone(&recorded), postgres.disk_commits());
        let load = Load { seed: SEED + 1_000 * round, tasks: 16, streams: 4, operations: 1_000 };
        let callers = tokio::spawn(async move { hammer(&raced, load).await });
        until(async || postgres.disk_commits() > before + 10).await;
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        callers.await.unwrap();
    }
    let checked = recorded.check(recorded.storage()).await;
    let checked = checked.unwrap_or_else(|violation| panic!("seed {SEED}: {violation}"));
    assert!(checked.commits > 50, "seed {SEED}: {checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_unavailable_and_has_no_effect() {
    let url = database().await;
    let settings = Settings { statement_timeout: Some(Duration::from_millis(50)), ..Settings::default() };
    let (storage, other) = (open_with(&url, settings).await, client(&url).await);
    other.batch_execute("BEGIN; LOCK TABLE eventsrc.commits").await.unwrap();
    let draft = commit("user/1", 1, &["a"]);
    let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["too long", "user/1", "sequence 1"]);
    let error = storage.latest(&draft.key).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["too long", "user/1"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    store(&storage, &draft).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_many_connections_is_unavailable() {
    let url = database().await;
    let owner = Postgres::connect(&url).await.unwrap();
    let admin = client(&url).await;
    admin.batch_execute("CREATE USER one_at_a_time CONNECTION LIMIT 1").await.unwrap();
    owner.grant_service("one_at_a_time").await.unwrap();
    let postgres = Postgres::connect(&as_user(&url, "one_at_a_time")).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    let draft = commit("user/1", 1, &["a"]);
    let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["too many connections", "user/1", "sequence 1"]);
    admin.batch_execute("ALTER USER one_at_a_time CONNECTION LIMIT 5").await.unwrap();
    assert!(matches!(storage.put(draft).await.unwrap(), Put::Stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_free_connection_gets_an_error() {
    let url = database().await;
    let settings =
        Settings { connections: 1, connect_timeout: Duration::from_millis(200), ..Settings::default() };
    let (storage, other) = (open_with(&url, settings).await, client(&url).await);
    store(&storage, &commit("user/1", 1, &["a"])).await;
    other.batch_execute("BEGIN; LOCK TABLE eventsrc.commits").await.unwrap();
    let reading = tokio::spawn({
        let storage = storage.clone();
        async move { storage.latest(&name("user/1")).await }
    });
    super::until_waiting(&other, 1).await;
    let error = storage.latest(&name("user/1")).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["all connections are in use"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert!(reading.await.unwrap().unwrap().is_some());
}
