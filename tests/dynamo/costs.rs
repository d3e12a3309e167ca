//! Costs of calls: requests and capacity units, exactly.

use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{
    Consistency, Event, EventStorage, Fold, Operation, Query, QueryApi, SaveApi, StreamName, fold_fn,
};
use eventsrc_dynamo::{Dynamo, DynamoSnapshots, DynamoStorage, Usage};
use eventsrc_tests::dynamo::tables;
use futures::TryStreamExt;

use super::{Storage, commit, noise, put};

/// An event of 300 bytes, as JSON with its quotes.
fn event() -> String {
    "e".repeat(298)
}

type Insert = Operation<String, PreconditionFailed>;

fn events(count: usize) -> Vec<Insert> {
    (0..count).map(|_| Operation::insert(event())).collect()
}

/// The requests and capacity units of `call`.
async fn cost<T>(dynamo: &Dynamo, call: impl Future<Output = T>) -> (u64, f64, f64) {
    let before = dynamo.usage();
    call.await;
    let Usage { requests, read_units, write_units } = dynamo.usage() - before;
    (requests, read_units, write_units)
}

/// A fold to the number of events and the last event.
fn counting() -> impl Fold<StreamName, u64, String, Key = StreamName, Value = (u64, String)> {
    fold_fn(|_, value: &mut Option<(u64, String)>, event: Event<'_, StreamName, u64, String>| {
        let count = value.as_ref().map_or(0, |(count, _)| *count);
        *value = Some((count + 1, event.payload.clone()));
    })
}

#[tokio::test]
async fn a_warm_save_is_one_request_and_a_unit_a_kilobyte() {
    let dynamo = tables("costs").await;
    let saves = SaveApi::new(Storage::new(&dynamo));
    let user: StreamName = "user/1".parse().unwrap();
    let save = async |events: usize| {
        let operations = self::events(events);
        cost(&dynamo, async { saves.save_all(&user, &Default::default(), &operations).await.unwrap() }).await
    };
    assert_eq!(save(1).await, (2, 1.0, 1.0), "a cold save reads where the stream ends");
    assert_eq!(save(1).await, (1, 0.0, 1.0));
    assert_eq!(save(3).await, (1, 0.0, 1.0));
    assert_eq!(save(10).await, (1, 0.0, 3.0));
}

#[tokio::test]
async fn a_conflict_costs_no_read() {
    let dynamo = tables("costs").await;
    let (ours, theirs) = (SaveApi::new(Storage::new(&dynamo)), SaveApi::new(Storage::new(&dynamo)));
    let user: StreamName = "user/1".parse().unwrap();
    let insert = || -> Insert { Operation::insert(event()) };
    ours.save(&user, insert()).await.unwrap().saved().unwrap();
    theirs.save(&user, insert()).await.unwrap().saved().unwrap();
    // Our writer does not know of the other's commit: its put conflicts once, the reply has the conflicting
    // commit, and the next put succeeds.
    let spent = cost(&dynamo, async { ours.save(&user, insert()).await.unwrap() }).await;
    assert_eq!(spent, (2, 0.0, 2.0));
}

#[tokio::test]
async fn a_put_that_meets_itself_is_one_request() {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let commit = put(&storage, "user/1", 1, &["Ada"]).await;
    assert_eq!(cost(&dynamo, async { storage.put(commit).await.unwrap() }).await, (1, 0.0, 1.0));
}

#[tokio::test]
async fn a_load_is_a_request_a_megabyte_and_a_unit_for_four_kilobytes() {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let queries = QueryApi::new(storage.clone(), counting());
    let user: StreamName = "user/1".parse().unwrap();
    let load = async || {
        cost(&dynamo, async { queries.snapshot(&user, Consistency::LatestEvent).await.unwrap() }).await
    };
    assert_eq!(load().await, (1, 1.0, 0.0), "to read nothing costs a unit as well");
    for commit in 0..10 {
        put(&storage, "user/1", 1 + commit * 10, &[event().as_str(); 10]).await;
    }
    // Ten items of 3.05 KB.
    assert_eq!(load().await, (1, 8.0, 0.0));
    let latest = cost(&dynamo, async { storage.latest(&user).await.unwrap() }).await;
    assert_eq!(latest, (1, 1.0, 0.0));
}

#[tokio::test]
async fn a_load_with_a_snapshot_is_two_requests_whatever_the_length() {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let user: StreamName = "user/1".parse().unwrap();
    let snapshots = DynamoSnapshots::new(&dynamo, "count");
    let queries =
        QueryApi::new(storage.clone(), counting()).with_snapshots(snapshots, SnapshotPolicy::Every(50));
    let load = async || {
        let before = dynamo.usage();
        let snapshot = queries.snapshot(&user, Consistency::LatestEvent).await.unwrap();
        (snapshot.value.unwrap().0, dynamo.usage() - before)
    };
    for commit in 0..10 {
        put(&storage, "user/1", 1 + commit * 10, &[event().as_str(); 10]).await;
    }
    let (count, usage) = load().await;
    assert_eq!(
        (count, usage.requests),
        (100, 3),
        "the snapshot that is missing, the events, and the snapshot kept"
    );
    let (count, usage) = load().await;
    assert_eq!((count, usage.requests), (100, 2), "nothing came since");
    put(&storage, "user/1", 101, &["last"]).await;
    let (count, usage) = load().await;
    assert_eq!((count, usage.requests), (101, 2));
    assert!(usage.read_units <= 2.0, "{usage:?}");
}

#[tokio::test]
async fn heads_of_long_streams_cost_less_than_a_scan() {
    let dynamo = tables("costs").await;
    let storage: DynamoStorage<StreamName, u64, String> = DynamoStorage::new(&dynamo);
    // Two streams of two megabytes.
    let text = noise(1, 100_000);
    for stream in ["user/1", "user/2"] {
        for number in 1..=20 {
            put(&storage, stream, number, &[&text]).await;
        }
    }
    let mut scanned = 0;
    let scan = cost(&dynamo, async {
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await.unwrap() {
            scanned += page.events().count();
        }
    });
    let (_, scan, _) = scan.await;
    let mut found = Vec::new();
    let heads = cost(&dynamo, async {
        found = storage.heads(Segment::ALL).try_collect::<Vec<_>>().await.unwrap().concat();
    });
    let (_, heads, _) = heads.await;
    assert_eq!((scanned, found.len()), (40, 2));
    assert!(found.iter().all(|(_, head)| head.sequence == 20), "{found:?}");
    assert!(heads < scan, "{heads} units for heads, {scan} for a scan");
}

#[tokio::test]
async fn all_users_of_a_shared_client_are_counted() {
    let dynamo = tables("costs").await;
    let (first, second) = (Storage::new(&dynamo), Storage::new(&dynamo.clone()));
    let before = dynamo.usage();
    put(&first, "user/1", 1, &["Ada"]).await;
    drop(second.put(commit("user/2", 1, &["Grace"])).await.unwrap());
    assert_eq!((dynamo.usage() - before).write_units, 2.0);
}
