//! Tables that are missing, or that have another key.

use eventsrc_core::{ErrorKind, EventStorage};
use eventsrc_dynamo::Dynamo;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use eventsrc_tests::dynamo::client;

use super::{Storage, commit, put};

#[tokio::test]
async fn tables_are_created_once_by_concurrent_callers() {
    let client = client("tables").await;
    let dynamos: Vec<_> = (0..4).map(|_| Dynamo::new(client.clone(), "events")).collect();
    futures::future::try_join_all(dynamos.iter().map(Dynamo::create_tables)).await.unwrap();
    dynamos[0].check_tables().await.unwrap();
    put(&Storage::new(&dynamos[1]), "user/1", 1, &["Ada"]).await;
}

#[tokio::test]
async fn a_missing_table_is_refused_by_name() {
    let dynamo = Dynamo::new(client("tables").await, "events");
    let error = dynamo.check_tables().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().contains("no table events")),
        (ErrorKind::Refused, true),
        "{error}"
    );
    let error = Storage::new(&dynamo).put(commit("user/1", 1, &["Ada"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!((error.stream(), error.sequence()), (Some("user/1"), Some("1")));
    assert!(error.to_string().contains("table events"), "{error}");
}

#[tokio::test]
async fn a_table_with_another_key_is_refused() {
    let client = client("tables").await;
    let attribute =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name("events")
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    let dynamo = Dynamo::new(client, "events");
    for error in [dynamo.create_tables().await.unwrap_err(), dynamo.check_tables().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Refused);
        let expected = "the table events has the key id (S), and not k (S), n (N)";
        assert!(error.to_string().contains(expected), "{error}");
    }
}
