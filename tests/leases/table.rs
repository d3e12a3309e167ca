//! The table in DynamoDB, item by item in the format of the Kinesis Client Library.

use std::collections::HashMap;

use eventsrc_core::lease::{Checkpoint, LeaseStore, NewLease};
use eventsrc_core::{ErrorKind, Timestamp};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::AttributeValue;
use eventsrc_kinesis::dynamodb::LeaseTable;
use eventsrc_tests::dynamo;

use super::{after, moved, take, unmoved};

type Item = HashMap<String, AttributeValue>;

/// A table of one test, with our store and a plain client.
struct Location {
    leases: LeaseTable,
    client: Client,
}

impl Location {
    async fn new() -> Self {
        let client = dynamo::client("leases").await;
        let leases = LeaseTable::new(client.clone(), "application");
        leases.create_table().await.unwrap();
        leases.create_table().await.expect("it may be there already");
        Self { leases, client }
    }

    async fn put(&self, item: Item) {
        self.client.put_item().table_name("application").set_item(Some(item)).send().await.unwrap();
    }

    async fn item(&self, shard: &str) -> Item {
        let get = self.client.get_item().table_name("application").key("leaseKey", text(shard));
        get.consistent_read(true).send().await.unwrap().item.unwrap_or_default()
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.map(|(name, value)| (name.to_owned(), value)).into()
}

/// `item` with these attributes replaced or removed.
fn with<const N: usize>(item: &Item, attributes: [(&str, Option<AttributeValue>); N]) -> Item {
    let mut item = item.clone();
    for (name, value) in attributes {
        match value {
            Some(value) => drop(item.insert(name.to_owned(), value)),
            None => drop(item.remove(name)),
        }
    }
    item
}

const SHARD: &str = "shardId-000000000002";
const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

fn time() -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_000_001).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_stored_as_the_client_library_stores_it() {
    let place = Location::new().await;
    let new = NewLease {
        shard: SHARD.into(),
        parents: vec!["shardId-000000000000".into(), "shardId-000000000001".into()],
        checkpoint: Checkpoint::TrimHorizon,
    };
    place.leases.create(&[new]).await.unwrap();
    let mut stored = place.item(SHARD).await;
    if let Some(AttributeValue::Ss(parents)) = stored.get_mut("parentShardId") {
        parents.sort();
    }
    let parents = AttributeValue::Ss(vec!["shardId-000000000000".into(), "shardId-000000000001".into()]);
    let created = item([
        ("leaseKey", text(SHARD)),
        ("leaseCounter", number(0)),
        ("checkpoint", text("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", number(0)),
        ("ownerSwitchesSinceCheckpoint", number(0)),
        ("parentShardId", parents),
    ]);
    assert_eq!(stored, created);

    let expect = async |expected: &Item, what: &str| {
        let found =
            with(&place.item(SHARD).await, [("parentShardId", created.get("parentShardId").cloned())]);
        assert_eq!(found, *expected, "{what}");
    };
    let free = place.leases.leases().await.unwrap().remove(0);
    let held = take(&place.leases, &free, "v").await;
    let taken = with(&created, [("leaseOwner", Some(text("v"))), ("leaseCounter", Some(number(1)))]);
    expect(&taken, "taken").await;

    let renew = async |renewal| place.leases.renew("v", &[renewal]).await.unwrap().remove(0).unwrap();
    let held = renew(moved(&held, after(NUMBER, 3, Some(time().as_microsecond())))).await;
    let renewed = with(
        &taken,
        [
            ("leaseCounter", Some(number(2))),
            ("checkpoint", Some(text(NUMBER))),
            ("checkpointSubSequenceNumber", Some(number(3))),
            ("checkpointTime", Some(text(&format!("{NUMBER} 1767225600000001")))),
        ],
    );
    expect(&renewed, "renewed, with a checkpoint").await;
    let held = renew(moved(&held, after("17", 0, None))).await;
    let renewed = with(
        &renewed,
        [
            ("leaseCounter", Some(number(3))),
            ("checkpoint", Some(text("17"))),
            ("checkpointSubSequenceNumber", Some(number(0))),
            ("checkpointTime", None),
        ],
    );
    expect(&renewed, "renewed, with a checkpoint without a time").await;

    assert!(place.leases.claim(&held, "w").await.unwrap());
    let claimed = with(&renewed, [("leaseOwner", Some(text("w"))), ("checkpointOwner", Some(text("v")))]);
    expect(&claimed, "claimed").await;
    let held = renew(unmoved(&held)).await;
    let claimed = with(&claimed, [("leaseCounter", Some(number(4)))]);
    expect(&claimed, "claimed, and renewed by its owner").await;
    assert!(place.leases.release("v", &unmoved(&held)).await.unwrap());
    let handed_over = with(&claimed, [("checkpointOwner", None), ("leaseCounter", Some(number(5)))]);
    expect(&handed_over, "handed over").await;

    let seen = place.leases.leases().await.unwrap().remove(0);
    let held = take(&place.leases, &seen, "v").await;
    let taken_over = with(
        &handed_over,
        [
            ("leaseOwner", Some(text("v"))),
            ("leaseCounter", Some(number(6))),
            ("ownerSwitchesSinceCheckpoint", Some(number(1))),
        ],
    );
    expect(&taken_over, "taken over").await;
    let held = renew(moved(&held, after("18", 0, None))).await;
    assert!(place.leases.release("v", &moved(&held, Checkpoint::End)).await.unwrap());
    let ended = with(
        &taken_over,
        [
            ("leaseOwner", None),
            ("leaseCounter", Some(number(8))),
            ("ownerSwitchesSinceCheckpoint", Some(number(0))),
            ("checkpoint", Some(text("SHARD_END"))),
        ],
    );
    expect(&ended, "ended").await;
    place.leases.remove(&[SHARD.into()]).await.unwrap();
    assert_eq!(place.item(SHARD).await, Item::new());
}

/// A lease of a worker of the client library.
fn foreign() -> Item {
    item([
        ("leaseKey", text(SHARD)),
        ("entityType", text("LEASE")),
        ("leaseOwner", text("library")),
        ("leaseCounter", number(41)),
        ("checkpoint", text(NUMBER)),
        ("checkpointSubSequenceNumber", number(1)),
        ("ownerSwitchesSinceCheckpoint", number(2)),
        ("childShardIds", AttributeValue::Ss(vec!["shardId-000000000005".into()])),
        ("startingHashKey", text("0")),
        ("endingHashKey", text("170141183460469231731687303715884105727")),
        ("throughputKBps", AttributeValue::N("12.5".into())),
        ("pendingCheckpoint", text("TRIM_HORIZON")),
        ("ours", text("is not known to anybody")),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_the_client_library_are_left_alone() {
    let place = Location::new().await;
    place.put(foreign()).await;
    let seen = place.leases.leases().await.unwrap().remove(0);
    assert_eq!((seen.owner.as_deref(), seen.checkpoint.clone()), (Some("library"), after(NUMBER, 1, None)));
    let held = take(&place.leases, &seen, "v").await;
    let held = place.leases.renew("v", &[unmoved(&held)]).await.unwrap().remove(0).unwrap();
    assert!(place.leases.release("v", &unmoved(&held)).await.unwrap());
    let expected = with(
        &foreign(),
        [
            ("leaseOwner", None),
            ("leaseCounter", Some(number(44))),
            ("ownerSwitchesSinceCheckpoint", Some(number(3))),
        ],
    );
    assert_eq!(place.item(SHARD).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_leases_are_skipped_and_left_alone() {
    let place = Location::new().await;
    let rows = [
        item([("leaseKey", text("Leader")), ("entityType", text("LEADER")), ("leaseCounter", number(1))]),
        item([("leaseKey", text("stream")), ("entityType", text("STREAM")), ("leaseOwner", number(1))]),
        item([("leaseKey", text("worker")), ("wid", text("worker")), ("checkpoint", text("SHARD_END"))]),
    ];
    for row in &rows {
        place.put(row.clone()).await;
    }
    place.put(foreign()).await;
    let leases = place.leases.leases().await.unwrap();
    assert_eq!(leases.iter().map(|lease| &*lease.shard).collect::<Vec<_>>(), [SHARD]);
    let keys = ["Leader", "stream", "worker"].map(String::from);
    let new = |shard: &String| NewLease {
        shard: shard.clone(),
        parents: Vec::new(),
        checkpoint: Checkpoint::Latest,
    };
    place.leases.create(&keys.each_ref().map(new)).await.unwrap();
    place.leases.remove(&keys).await.unwrap();
    for (key, row) in keys.iter().zip(&rows) {
        assert_eq!(place.item(key).await, *row);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lease_is_an_error() {
    let place = Location::new().await;
    place.put(with(&foreign(), [("checkpoint", None)])).await;
    let error = place.leases.leases().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(SHARD) && error.to_string().contains("application"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_lease_table_is_refused() {
    let leases = LeaseTable::new(dynamo::client("leases").await, "missing");
    let error = leases.leases().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.to_string().contains("missing"), "{error}");
}

/// More leases than the service returns in one page.
#[tokio::test(flavor = "multi_thread")]
async fn all_leases_of_several_pages_are_listed() {
    let place = Location::new().await;
    let shards: Vec<_> = (0..15).map(|shard| format!("{shard:02}")).collect();
    for shard in &shards {
        let large = text(&"x".repeat(100_000));
        place.put(with(&foreign(), [("leaseKey", Some(text(shard))), ("ours", Some(large))])).await;
    }
    let leases = place.leases.leases().await.unwrap();
    assert_eq!(leases.into_iter().map(|lease| lease.shard).collect::<Vec<_>>(), shards);
}
