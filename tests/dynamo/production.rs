//! The templates for production tables, as far as they can be tested without AWS.

mod roles;
mod templates;

use std::collections::BTreeSet;

use eventsrc_dynamo::Dynamo;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, SseSpecification, StreamSpecification,
    StreamViewType, TableDescription,
};
use eventsrc_tests::dynamo::client;
use serde_json::Value;

use templates::{Policy, policies, tables, text};

#[tokio::test]
async fn the_tables_of_the_template_are_those_that_the_crate_makes() {
    let (made, by_crate) = (client("production").await, client("production").await);
    for table in tables("events").values() {
        create(&made, &table["Properties"]).await;
    }
    Dynamo::new(made.clone(), "events").check_tables().await.unwrap();
    Dynamo::new(by_crate.clone(), "events").create_tables().await.unwrap();
    for table in ["events", "events-snapshots"] {
        let (made, by_crate) = (describe(&made, table).await, describe(&by_crate, table).await);
        assert_eq!(made.key_schema, by_crate.key_schema);
        let attributes = |table: &TableDescription| {
            BTreeSet::from_iter(
                table.attribute_definitions().iter().map(|attribute| format!("{attribute:?}")),
            )
        };
        assert_eq!(attributes(&made), attributes(&by_crate));
        let billing =
            |table: &TableDescription| table.billing_mode_summary.clone().and_then(|it| it.billing_mode);
        assert_eq!(billing(&made), billing(&by_crate));
        assert_eq!(made.stream_specification, by_crate.stream_specification);
        assert_eq!(made.deletion_protection_enabled, Some(true));
    }
}

#[test]
fn the_tables_of_the_template_outlive_mistakes() {
    for (name, table) in tables("events") {
        assert_eq!(
            (&table["DeletionPolicy"], &table["UpdateReplacePolicy"]),
            (&"Retain".into(), &"Retain".into())
        );
        let properties = &table["Properties"];
        assert_eq!(properties["DeletionProtectionEnabled"], true, "{name}");
        assert_eq!(
            properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true,
            "{name}"
        );
        assert_eq!(properties["SSESpecification"]["SSEEnabled"], true, "{name}");
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_does_and_no_more() {
    let policies = policies("events");
    // Requests that are needed only where DynamoDB does not return the conflicting commit.
    let asked_elsewhere = [("dynamodb:GetItem".to_owned(), "events".to_owned())];
    for (role, mut done) in [("Writer", roles::writer().await), ("Reader", roles::reader().await)] {
        for (action, table) in &done {
            assert!(policies[role].allows(action, table), "{role}: {action} of {table}");
        }
        done.extend(asked_elsewhere.iter().filter(|_| role == "Writer").cloned());
        assert_eq!(policies[role].allowed(), done, "{role}");
    }
    let stream = "events/stream/2026-11-21T00:00:00.000";
    let mut done = roles::consumer().await;
    for action in ["DescribeStream", "GetShardIterator", "GetRecords"] {
        done.insert((format!("dynamodb:{action}"), stream.to_owned()));
    }
    for (action, resource) in &done {
        assert!(policies["Consumer"].allows(action, resource), "{action} of {resource}");
    }
    let names = |allowed: BTreeSet<(String, String)>| {
        BTreeSet::from_iter(allowed.into_iter().map(|(action, _)| action))
    };
    assert_eq!(names(policies["Consumer"].allowed()), names(done));
}

/// Actions that change or remove an item, a table with its items, or the protection of a table.
const CHANGES: [&str; 15] = [
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "PartiQLInsert",
    "PartiQLUpdate",
    "PartiQLDelete",
    "DeleteTable",
    "UpdateTimeToLive",
    "UpdateTable",
    "UpdateContinuousBackups",
    "DeleteBackup",
    "PutResourcePolicy",
    "DeleteResourcePolicy",
    "CreateTableReplica",
    "DeleteTableReplica",
];

#[test]
fn no_role_may_change_or_remove_an_event() {
    for (role, policy) in policies("events") {
        for change in CHANGES {
            for resource in ["events", "events/backup/01", "events/stream/01", "events/index/01"] {
                assert!(
                    !policy.allows(&format!("dynamodb:{change}"), resource),
                    "{role}: {change} of {resource}"
                );
            }
        }
        assert_eq!(policy.allows("dynamodb:PutItem", "events"), role == "Writer", "{role}");
        // These actions are denied whatever else the role permits.
        let administrator = policy.and(Policy::everything());
        for change in &CHANGES[..8] {
            assert!(!administrator.allows(&format!("dynamodb:{change}"), "events"), "{role}: {change}");
            assert!(
                administrator.allows(&format!("dynamodb:{change}"), "events-snapshots"),
                "{role}: {change}"
            );
        }
    }
}

#[test]
fn an_operator_restores_to_another_table_and_deletes_snapshots() {
    let operator = &policies("events")["Operator"];
    for (action, resource) in [
        ("CreateBackup", "events"),
        ("RestoreTableToPointInTime", "events"),
        ("RestoreTableFromBackup", "events/backup/01"),
        ("BatchWriteItem", "events-restored-today"),
        ("DeleteItem", "events-snapshots"),
    ] {
        assert!(operator.allows(&format!("dynamodb:{action}"), resource), "{action} of {resource}");
    }
    assert!(!operator.allows("dynamodb:RestoreTableToPointInTime", "others"));
    assert!(!operator.allows("dynamodb:PutItem", "events-snapshots"));
}

/// Creates a table from its properties in a template.
async fn create(client: &Client, properties: &Value) {
    let list = |name: &str| properties[name].as_array().unwrap().clone();
    let stream = properties.get("StreamSpecification").map(|stream| {
        let view = StreamViewType::from(text(&stream["StreamViewType"]));
        StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().unwrap()
    });
    let attribute = |attribute: &Value| {
        let kind = text(&attribute["AttributeType"]).into();
        let name = text(&attribute["AttributeName"]);
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let element = |element: &Value| {
        let name = text(&element["AttributeName"]);
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(text(&element["KeyType"]).into())
            .build()
            .unwrap()
    };
    let encryption = &properties["SSESpecification"];
    let encryption = SseSpecification::builder()
        .set_enabled(encryption["SSEEnabled"].as_bool())
        .sse_type(text(&encryption["SSEType"]).into());
    client
        .create_table()
        .table_name(text(&properties["TableName"]))
        .set_attribute_definitions(Some(list("AttributeDefinitions").iter().map(attribute).collect()))
        .set_key_schema(Some(list("KeySchema").iter().map(element).collect()))
        .billing_mode(BillingMode::from(text(&properties["BillingMode"])))
        .set_stream_specification(stream)
        .sse_specification(encryption.build())
        .set_deletion_protection_enabled(properties["DeletionProtectionEnabled"].as_bool())
        .send()
        .await
        .unwrap();
}

async fn describe(client: &Client, table: &str) -> TableDescription {
    client.describe_table().table_name(table).send().await.unwrap().table.unwrap()
}
