//! Connections that are cut at any byte.

use std::sync::Arc;

use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::RetryConfig;
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Proxy, Way};
use eventsrc_testkit::history::{Load, Recorded, hammer};

use eventsrc_tests::faulty_http::{FaultyTables, once, quickly};

use super::faulty::{PutOutcome, Storage, assert_says, beneath, commit, commits, said, store};

/// Tables in a database of their own, a proxy in front of it, and a client of the proxy.
async fn behind_a_proxy(retries: RetryConfig) -> (FaultyTables, Proxy, Dynamo) {
    let tables = FaultyTables::new("cuts").await;
    let proxy = Proxy::before(servers::dynamo().await.address()).await.unwrap();
    let config = tables.config().endpoint_url(format!("http://{}", proxy.address())).retry_config(retries);
    let dynamo = Dynamo::new(Client::from_conf(config.build()), "events");
    (tables, proxy, dynamo)
}

/// The first bytes of a put's reply arrive, or those of the reply to its check, on a connection that is new or was
/// used before.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_connection_breaks_in_a_reply_is_unknown_and_then_recognised() {
    let (tables, proxy, dynamo) = behind_a_proxy(once()).await;
    let storage: Storage = DynamoStorage::new(&dynamo);
    for bytes in (0..240).step_by(12) {
        for turn in ["without a commit before it", "unchecked", "checked"] {
            let stream = format!("{}/{bytes}", turn.replace(' ', "-"));
            let before = commit(&stream, 1, &["a"]);
            let draft = match turn {
                "without a commit before it" => before,
                "unchecked" => {
                    store(&storage, &before).await;
                    commit(&stream, 2, &["b"])
                }
                _ => {
                    store(&beneath(&tables), &before).await;
                    commit(&stream, 2, &["b"])
                }
            };
            proxy.cut_after(Way::ToClient, bytes);
            let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
            let sequence = format!("sequence {}", draft.first);
            assert_says(&error, ErrorKind::Unavailable, &["the table events", &stream, &sequence]);
            proxy.calm();
            let again = storage.put(Arc::clone(&draft)).await;
            assert!(
                matches!(said(&again), PutOutcome::Stored | PutOutcome::Repeated),
                "{turn}, after {bytes} bytes: {again:?}"
            );
            assert_eq!(commits(&beneath(&tables), &stream).await.last(), Some(&draft));
        }
    }
}

const SEED: u64 = 20_263;

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_linearizable_while_connections_are_cut_at_random() {
    let (tables, proxy, dynamo) = behind_a_proxy(quickly()).await;
    let storage: DynamoStorage<StreamName, u64, u64> = DynamoStorage::new(&dynamo);
    let recorded = Arc::new(Recorded::new(storage));
    proxy.cut_randomly(SEED, 1_000..=30_000);
    hammer(&recorded, Load { seed: SEED, tasks: 16, streams: 8, operations: 600 }).await;
    proxy.calm();
    let injected = proxy.injected();
    let direct: DynamoStorage<StreamName, u64, u64> = DynamoStorage::new(tables.without_faults());
    match recorded.check(&direct).await {
        Ok(checked) => assert!(checked.commits > 50, "seed {SEED}, {injected}: {checked:?}"),
        Err(violation) => panic!("seed {SEED}, {injected}: {violation}"),
    }
    assert!(injected.total() > 30, "seed {SEED}: {injected}");
}
