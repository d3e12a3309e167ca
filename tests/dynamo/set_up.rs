//! Wrong set-ups: each error says what to do, and contains no secret.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StorageError};
use eventsrc_dynamo::aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use eventsrc_dynamo::aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use eventsrc_dynamo::aws_sdk_dynamodb::{Client, config};
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Proxy, Way};
use eventsrc_tests::faulty_http::{Answer, FaultyHttp, FaultyTables, HttpFault, once, quickly};
use futures::TryStreamExt;
use tokio::net::TcpListener;

use super::faulty::{Storage, assert_says, beneath, commit, everything, name, scanned, store, until_stored};

const SECRET: &str = "TheSecretAccessKeyThatNobodyMaySee";
const TOKEN: &str = "TheSessionTokenThatNobodyMaySee";

/// A builder without an endpoint, a region and credentials.
fn bare() -> Builder {
    Config::builder().behavior_version(BehaviorVersion::latest()).retry_config(once())
}

fn with_secrets(builder: Builder) -> Builder {
    builder.credentials_provider(Credentials::new("anyone", SECRET, Some(TOKEN.into()), None, "tests"))
}

fn in_a_region(builder: Builder) -> Builder {
    builder.region(Region::new("eu-west-1"))
}

fn storage(builder: Builder) -> Storage {
    DynamoStorage::new(&Dynamo::new(Client::from_conf(builder.build()), "events"))
}

/// The errors of all calls.
async fn told(storage: &Storage) -> [StorageError; 5] {
    let draft = commit("user/1", 1, &["a"]);
    [
        storage.put(Arc::clone(&draft)).await.unwrap_err(),
        // This one reads the commit before it.
        storage.put(commit("user/1", 7, &["a"])).await.unwrap_err(),
        storage.latest(&draft.key).await.unwrap_err(),
        storage.events(&draft.key, None).try_next().await.unwrap_err(),
        scanned(storage).await.unwrap_err(),
    ]
}

/// Fails unless every call of `storage` fails with this kind and these causes, names table, stream and sequence,
/// and keeps the secrets.
async fn says(storage: &Storage, kind: ErrorKind, causes: &[&str]) {
    let errors = told(storage).await;
    assert_says(&errors[0], kind, &["put into the table events", "user/1", "sequence 1"]);
    assert_says(&errors[1], kind, &["read the table events", "user/1", "sequence 7"]);
    assert_says(&errors[2], kind, &["read the table events", "user/1"]);
    assert_says(&errors[3], kind, &["read the table events", "user/1"]);
    assert_says(&errors[4], kind, &["scan the table events"]);
    for error in &errors {
        assert!(error.source().is_some(), "{error:?}");
        let everything = everything(error);
        for cause in causes {
            assert!(everything.contains(cause), "{cause:?} is not in {everything}");
        }
        for secret in [SECRET, TOKEN] {
            assert!(!everything.contains(secret), "{everything}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_region_is_refused() {
    says(&storage(with_secrets(bare())), ErrorKind::Refused, &["Region"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_credentials_is_refused() {
    let server = servers::dynamo().await;
    let storage = storage(in_a_region(bare()).endpoint_url(server.endpoint()));
    says(&storage, ErrorKind::Refused, &["credentials"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_endpoint_is_refused() {
    for endpoint in ["nonsense", "http://", "127.0.0.1:8000", "http://ex ample", "https://"] {
        let storage = storage(in_a_region(with_secrets(bare())).endpoint_url(endpoint));
        says(&storage, ErrorKind::Refused, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_a_listener_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let storage = storage(in_a_region(with_secrets(bare())).endpoint_url(format!("http://{closed}")));
    says(&storage, ErrorKind::Unavailable, &["refused"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_unavailable() {
    let storage = storage(in_a_region(with_secrets(bare())).endpoint_url("http://nowhere.invalid:8000"));
    says(&storage, ErrorKind::Unavailable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_credentials_are_refused() {
    let tables = FaultyTables::new("credentials").await;
    let answers = [
        Answer::UNRECOGNIZED_CLIENT,
        Answer::EXPIRED_TOKEN,
        Answer::INVALID_SIGNATURE,
        Answer::ACCESS_DENIED,
    ];
    for answer in answers {
        let faulty = FaultyHttp::scripted();
        faulty.script([Some(HttpFault::Answered(answer)); 5]);
        let builder = with_secrets(tables.config()).http_client(faulty).retry_config(once());
        says(&storage(builder), ErrorKind::Refused, &[answer.name()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_refused() {
    let tables = FaultyTables::new("missing").await;
    let client = Client::from_conf(with_secrets(tables.config()).build());
    let elsewhere = Dynamo::new(client, "elsewhere");
    let storage: Storage = DynamoStorage::new(&elsewhere);
    let error = storage.put(commit("user/1", 1, &["a"])).await.unwrap_err();
    let words = ["put into the table elsewhere", "ResourceNotFoundException", "user/1", "sequence 1"];
    assert_says(&error, ErrorKind::Refused, &words);
    let error = storage.put(commit("user/1", 7, &["a"])).await.unwrap_err();
    let words = ["read the table elsewhere", "ResourceNotFoundException", "user/1", "sequence 7"];
    assert_says(&error, ErrorKind::Refused, &words);
    let error = storage.latest(&name("user/1")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["the table elsewhere", "user/1"]);
    let error = storage.events(&name("user/1"), None).try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["the table elsewhere", "user/1"]);
    let error = scanned(&storage).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["the table elsewhere"]);
    let error = elsewhere.check_tables().await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["there is no table elsewhere"]);
}

/// The service rejects the request: here, the table has another key.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_service_rejects_is_invalid() {
    let tables = FaultyTables::new("invalid").await;
    let client = Client::from_conf(tables.config().build());
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    let create = client.create_table().table_name("users").billing_mode(BillingMode::PayPerRequest);
    let create = create.attribute_definitions(id.build().unwrap()).key_schema(key.build().unwrap());
    create.send().await.unwrap();
    let users = Dynamo::new(client, "users");
    let storage: Storage = DynamoStorage::new(&users);
    let error = storage.put(commit("user/1", 1, &["a"])).await.unwrap_err();
    assert_says(
        &error,
        ErrorKind::Invalid,
        &["put into the table users", "ValidationException", "user/1", "sequence 1"],
    );
    let error = storage.latest(&name("user/1")).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["the table users", "ValidationException", "user/1"]);
    let error = users.check_tables().await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["the table users has the key id (S), and not k (S), n (N)"]);
}

fn impatient() -> TimeoutConfig {
    TimeoutConfig::builder().read_timeout(Duration::from_millis(50)).build()
}

/// The server accepts connections and never replies.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_in_time_is_unavailable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let of_attempt = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(50)).build();
    let of_operation = TimeoutConfig::builder().operation_timeout(Duration::from_millis(50)).build();
    for (timeouts, retries) in [
        (impatient(), once()),
        (impatient(), quickly()),
        (of_attempt.clone(), once()),
        (of_attempt, quickly()),
        (of_operation, once()),
    ] {
        let builder = in_a_region(with_secrets(bare())).endpoint_url(&endpoint);
        let builder = builder.timeout_config(timeouts).retry_config(retries);
        says(&storage(builder), ErrorKind::Unavailable, &["time"]).await;
    }
}

/// The put is carried out all the same. Once the service answers again, it is recognised.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_timed_out_is_unknown_and_then_recognised() {
    let tables = FaultyTables::new("stalled").await;
    let proxy = Proxy::before(servers::dynamo().await.address()).await.unwrap();
    let builder = tables.config().endpoint_url(format!("http://{}", proxy.address()));
    let storage = storage(builder.timeout_config(impatient()).retry_config(once()));
    let direct = beneath(&tables);
    // The storage has seen this commit, so the next put is sent without a check.
    store(&storage, &commit("user/1", 1, &["a"])).await;
    proxy.stall(Way::ToClient);
    let late = commit("user/1", 2, &["b"]);
    let error = storage.put(Arc::clone(&late)).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["user/1", "sequence 2"]);
    until_stored(&direct, &late).await;
    let again = direct.put(late).await.unwrap();
    assert!(matches!(again, Put::Repeated { last: 2 }), "{again:?}");
}

/// `Display` and `Debug` output of an error differ. Neither the tables nor the storage print a secret.
#[tokio::test]
async fn a_storage_that_is_printed_keeps_the_secrets() {
    let client = Client::from_conf(in_a_region(with_secrets(bare())).build());
    let dynamo = Dynamo::new(client, "events");
    let storage: Storage = DynamoStorage::new(&dynamo);
    let printed =
        format!("{dynamo:?} {storage:?} {:?}", config::Credentials::new("anyone", SECRET, None, None, ""));
    assert!(printed.contains("events") && !printed.contains(SECRET), "{printed}");
}
