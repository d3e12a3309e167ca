//! Connections that are cut, at any byte and right around a statement.

use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Moment, Proxy};
use eventsrc_testkit::history::{Load, Recorded, hammer};

use super::{assert_says, client, commit, commits, open, store, transactions};

/// A database, and a proxy in front of it.
async fn behind_a_proxy() -> (Proxy, String) {
    let server = servers::postgres().await;
    let url = server.database("cuts").await;
    drop(open(&url).await);
    (Proxy::before_postgres(server.address()).await.unwrap(), url)
}

fn is_put(statement: &str) -> bool {
    statement.contains("INSERT INTO")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_on_a_broken_connection_is_resolved_without_its_caller() {
    for moment in [Moment::Undelivered, Moment::Answered] {
        let (proxy, direct) = behind_a_proxy().await;
        let storage = open(&proxy.url(&direct)).await;
        store(&storage, &commit("user/1", 1, &["a"])).await;
        proxy.cut_once(moment, is_put);
        let draft = commit("user/1", 2, &["b"]);
        let put = storage.put(Arc::clone(&draft)).await.unwrap();
        match moment {
            Moment::Undelivered => assert!(matches!(put, Put::Stored), "{put:?}"),
            Moment::Answered => assert!(matches!(put, Put::Repeated { last: 2 }), "{put:?}"),
        }
        assert_eq!(proxy.injected().total(), 1);
        let beneath = open(&direct).await;
        assert_eq!(commits(&beneath, "user/1").await[1..], [draft]);
        assert_eq!(transactions(&client(&direct).await).await, 2);
        store(&storage, &commit("user/1", 3, &["c"])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_reply_is_lost_is_unknown_and_resolved_by_putting_again() {
    for moment in [Moment::Undelivered, Moment::Answered] {
        let (proxy, direct) = behind_a_proxy().await;
        let storage = open(&proxy.url(&direct)).await;
        // Each connection is cut, so that a retry fails as well.
        proxy.cut_each(moment, is_put);
        let draft = commit("user/1", 1, &["a"]);
        let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
        assert_says(&error, ErrorKind::Unavailable, &["the connection broke", "user/1", "sequence 1"]);
        proxy.calm();
        let again = storage.put(Arc::clone(&draft)).await.unwrap();
        match moment {
            Moment::Undelivered => assert!(matches!(again, Put::Stored), "{again:?}"),
            Moment::Answered => assert!(matches!(again, Put::Repeated { last: 1 }), "{again:?}"),
        }
        assert_eq!(commits(&open(&direct).await, "user/1").await, [draft]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_reply_is_lost_is_unknown_to_each_of_its_callers() {
    let (proxy, direct) = behind_a_proxy().await;
    let storage = open(&proxy.url(&direct)).await;
    proxy.cut_each(Moment::Answered, is_put);
    let drafts: Vec<_> = (0..20).map(|id| commit(&format!("user/{id}"), 1, &["a"])).collect();
    let puts = drafts.iter().map(|draft| storage.put(Arc::clone(draft)));
    for (draft, put) in drafts.iter().zip(futures::future::join_all(puts).await) {
        match put {
            Ok(put) => assert!(matches!(put, Put::Repeated { last: 1 }), "{put:?}"),
            Err(error) => assert_says(&error, ErrorKind::Unavailable, &[draft.key.as_str(), "sequence 1"]),
        }
    }
    proxy.calm();
    for draft in &drafts {
        let again = storage.put(Arc::clone(draft)).await.unwrap();
        assert!(matches!(again, Put::Repeated { last: 1 }), "{again:?}");
    }
}

const SEED: u64 = 20_261;

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_linearizable_while_connections_are_cut_at_random() {
    let (proxy, direct) = behind_a_proxy().await;
    let postgres = Postgres::connect(&proxy.url(&direct)).await.unwrap();
    let storage: PostgresStorage<StreamName, u64, u64> = PostgresStorage::new(&postgres);
    let recorded = Arc::new(Recorded::new(storage));
    proxy.cut_randomly(SEED, 1_000..=30_000);
    hammer(&recorded, Load { seed: SEED, tasks: 32, streams: 8, operations: 3_000 }).await;
    proxy.calm();
    let injected = proxy.injected();
    let beneath = Postgres::connect(&direct).await.unwrap();
    let beneath: PostgresStorage<StreamName, u64, u64> = PostgresStorage::new(&beneath);
    match recorded.check(&beneath).await {
        Ok(checked) => assert!(checked.commits > 100, "seed {SEED}, {injected}: {checked:?}"),
        Err(violation) => panic!("seed {SEED}, {injected}: {violation}"),
    }
    assert!(injected.total() > 30, "seed {SEED}: {injected}");
}
