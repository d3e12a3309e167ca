//! A server that accepts connections and requests and does not answer: each call ends at its deadline.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Operation, SaveApi, Snapshot, StorageError, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::RetryConfig;
use eventsrc_dynamo::{Dynamo, DynamoSnapshots, Settings};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Proxy, Way};
use eventsrc_tests::faulty_http::{FaultyTables, once};
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt, join_all};

use super::Storage;
use super::faulty::{assert_says, beneath, commit, commits, name, store, until_stored};

const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);

/// Deadline in tests in which the server also answers, perhaps on a busy machine.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which a call has missed its deadline, also on a busy machine.
const LATE: Duration = Duration::from_secs(3);

type Snapshots = DynamoSnapshots<StreamName, u64, u64>;
type Call<'a> = (&'static str, BoxFuture<'a, Result<(), StorageError>>);

/// Tables with a stream of one commit, a proxy that can freeze, and a handle through it.
async fn behind_a_proxy(retries: RetryConfig, answer_timeout: Duration) -> (FaultyTables, Proxy, Dynamo) {
    let tables = FaultyTables::new("frozen").await;
    store(&beneath(&tables), &commit("user/1", 1, &["a"])).await;
    let proxy = Proxy::before(servers::dynamo().await.address()).await.unwrap();
    let config = tables.config().endpoint_url(format!("http://{}", proxy.address())).retry_config(retries);
    let settings = Settings { answer_timeout, ..Settings::default() };
    (tables, proxy, Dynamo::with(Client::from_conf(config.build()), "events", settings))
}

/// All calls of event storages.
fn storage_calls(storage: &Storage) -> Vec<Call<'_>> {
    let put = |stream, first| storage.put(commit(stream, first, &["x"])).map(|put| put.map(drop)).boxed();
    let user = name("user/1");
    let events = storage.events(&user, None).try_collect::<Vec<_>>().map(|pages| pages.map(drop));
    let rest = storage.events(&user, Some(2)).try_collect::<Vec<_>>().map(|pages| pages.map(drop));
    let after = storage.events_after(&user, Some(1)).try_collect::<Vec<_>>().map(|pages| pages.map(drop));
    let scan = storage.scan(Segment::ALL).try_collect::<Vec<_>>().map(|pages| pages.map(drop));
    let heads = storage.heads(Segment::ALL).try_collect::<Vec<_>>().map(|pages| pages.map(drop));
    vec![
        ("put a first commit", put("user/2", 1)),
        ("put a commit after another", put("user/1", 2)),
        ("latest", async { storage.latest(&name("user/1")).await.map(drop) }.boxed()),
        ("recent", async { storage.recent(&name("user/1"), 3).await.map(drop) }.boxed()),
        ("events", events.boxed()),
        ("events from a sequence", rest.boxed()),
        ("events after a commit", after.boxed()),
        ("scan", scan.boxed()),
        ("heads", heads.boxed()),
    ]
}

/// All calls of snapshot storages.
fn snapshot_calls(snapshots: &Snapshots) -> Vec<Call<'_>> {
    let get = |which| async move { snapshots.get(&name("user/1"), 1, which).await.map(drop) }.boxed();
    let put = |mode| {
        let snapshot = Snapshot::new(Some(1), Some(commit("user/1", 1, &["a"]).head()));
        async move { snapshots.put(&name("user/1"), 1, &snapshot, mode).await }.boxed()
    };
    vec![
        ("get the latest snapshot", get(SnapshotAt::Latest)),
        ("get the earliest snapshot", get(SnapshotAt::Earliest)),
        ("get a snapshot before a sequence", get(SnapshotAt::Before(3))),
        ("put a cached snapshot", put(SnapshotMode::Cache)),
        ("put an epoch", put(SnapshotMode::Epoch)),
    ]
}

fn table_calls(dynamo: &Dynamo) -> Vec<Call<'_>> {
    vec![
        ("check the tables", dynamo.check_tables().boxed()),
        ("create the tables", dynamo.create_tables().boxed()),
    ]
}

/// Fails unless each call ends at its deadline with kind `Unavailable`. All run at the same time.
async fn assert_all_end(calls: Vec<Call<'_>>) {
    let calls = calls.into_iter().map(|(what, call)| async move {
        let start = SystemClock.elapsed();
        let result = call.await;
        (what, result, SystemClock.elapsed() - start)
    });
    for (what, result, took) in join_all(calls).await {
        let error = result.expect_err(what);
        assert_says(&error, ErrorKind::Unavailable, &["the table events", "did not answer in time"]);
        assert!((ANSWER_TIMEOUT..LATE).contains(&took), "{what} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_ends_at_its_deadline_with_and_without_retries_of_the_sdk() {
    for retries in [once(), RetryConfig::standard()] {
        let (_tables, proxy, dynamo) = behind_a_proxy(retries, ANSWER_TIMEOUT).await;
        let (storage, snapshots) = (Storage::new(&dynamo), Snapshots::new(&dynamo, "count"));
        for way in [Way::ToServer, Way::ToClient] {
            proxy.stall(way);
            let calls = [storage_calls(&storage), snapshot_calls(&snapshots), table_calls(&dynamo)];
            assert_all_end(calls.into_iter().flatten().collect()).await;
            proxy.resume();
        }
    }
}

/// The commit before is trusted, so the put itself is sent, carried out, and not answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_put_that_gets_no_answer_is_unknown_and_then_recognised() {
    let (tables, proxy, dynamo) = behind_a_proxy(once(), LONG_ANSWER_TIMEOUT).await;
    let (storage, direct) = (Storage::new(&dynamo), beneath(&tables));
    storage.latest(&name("user/1")).await.unwrap();
    proxy.stall(Way::ToClient);
    let draft = commit("user/1", 2, &["b"]);
    let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["put into the table events", "user/1", "sequence 2"]);
    until_stored(&direct, &draft).await;
    proxy.resume();
    let again = storage.put(draft).await.unwrap();
    assert!(matches!(again, Put::Repeated { last: 2 }), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_says_if_its_commit_may_be_stored() {
    let (tables, proxy, dynamo) = behind_a_proxy(once(), LONG_ANSWER_TIMEOUT).await;
    let saves = SaveApi::new(Storage::new(&dynamo));
    let save = async || {
        let operation: Operation<_, PreconditionFailed, _> = Operation::insert("x".to_owned());
        saves.save(&name("user/1"), operation).await
    };
    proxy.stall(Way::ToServer);
    let error = save().await.unwrap_err();
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Unavailable, false), "nothing was put");
    proxy.resume();
    assert_eq!(save().await.unwrap().saved().unwrap().sequence, 2);
    proxy.stall(Way::ToServer);
    let error = save().await.unwrap_err();
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Unavailable, true), "{error:?}");
    assert_eq!(commits(&beneath(&tables), "user/1").await.len(), 2);
}
