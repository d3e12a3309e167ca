//! Enhanced fan-out: records that Kinesis pushes to a subscription.

use std::collections::BTreeMap;
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::codec::Json;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, MemoryLeases};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{MemoryStorage, StreamName};
use eventsrc_kinesis::{
    Consumer, Envelope, FanOutSettings, FanOutStream, Publisher, aws_sdk_kinesis::Client,
};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::Proxy;
use eventsrc_tests::bus::{quick, split};
use eventsrc_tests::ledgers::{Entries, Filler};
use eventsrc_tests::{HANG, kinesis};
use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;

type Storage = MemoryStorage<StreamName, u64, i64>;

/// Publishes the commits that were stored since `before`.
async fn publish(storage: &Storage, publisher: &Publisher<StreamName, u64, i64, Json>, before: &Entries) {
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    let commits = pages.iter().flat_map(|page| page.commits().to_vec());
    let known = |key: &StreamName| before.commits.get(key.as_str()).map_or(0, |known| known.len());
    let mut seen = BTreeMap::<StreamName, usize>::new();
    let changes: Vec<_> = commits
        .filter(|commit| {
            let seen = seen.entry(commit.key.clone()).or_default();
            *seen += 1;
            *seen > known(&commit.key)
        })
        .map(Change::Commit)
        .collect();
    publisher.publish(&changes).await.unwrap();
}

/// Reads on until all stored commits have come.
async fn settles(feed: &mut Consumer<StreamName, u64, i64>, found: &mut Entries, storage: &Storage) {
    let expected = Entries::of(storage).await.unwrap();
    let reading = async {
        while found.len() < expected.len() {
            let delivery = feed.next().await.unwrap().expect("it does not end");
            for change in &delivery.changes {
                let Change::Commit(commit) = change else { panic!("nothing was lost: {change:?}") };
                let entry = (commit.first, commit.metadata.commit_id.0);
                let commits = found.commits.entry(commit.key.to_string()).or_default();
                if !commits.contains(&entry) {
                    commits.push(entry);
                }
            }
            delivery.acknowledgement.acknowledge();
        }
    };
    if timeout(HANG, reading).await.is_err() {
        panic!("not all came: {:?}", found.wrong(&expected));
    }
    assert_eq!(found.commits, expected.commits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_resumes_after_a_break_and_after_splits() {
    let stream = kinesis::stream(2).await;
    let proxy = Proxy::before(servers::kinesis().await.address()).await.unwrap();
    let through_proxy = Client::from_conf(kinesis::config(&format!("http://{}", proxy.address())).build());
    let settings = FanOutSettings { between_calls: Duration::from_millis(20), ..FanOutSettings::default() };
    let source = FanOutStream::register(through_proxy, &stream, "ledger").await.unwrap().with(settings);
    source.check().await.unwrap();
    let again = FanOutStream::register(kinesis::client().await, &stream, "ledger").await;
    assert!(again.is_ok(), "a group may be registered already");

    let leases = MemoryLeases::default();
    let envelope = Envelope::<StreamName, u64, i64>::new();
    let mut feed = Consumer::start(source, leases.clone(), envelope, quick()).await.unwrap();
    let (storage, publisher) = (Storage::default(), Publisher::new(kinesis::client().await, &stream, Json));
    let (mut filler, mut found) = (Filler::new(20, StdRng::seed_from_u64(5)), Entries::default());
    for round in 0..4 {
        filler.add(&storage, 50).await.unwrap();
        publish(&storage, &publisher, &found).await;
        settles(&mut feed, &mut found, &storage).await;
        match round {
            0 | 1 => proxy.cut(),
            _ => split(&kinesis::client().await, &stream, 0).await.unwrap(),
        }
    }
    let ended = async {
        let has_ended = |lease: &Lease| lease.checkpoint == Checkpoint::End;
        while leases.leases().await.unwrap().iter().filter(|lease| has_ended(lease)).count() < 2 {
            // On a busy machine a lease is lost now and then, and unacknowledged commits come again.
            tokio::select! {
                delivery = feed.next() => delivery.unwrap().expect("it does not end").acknowledgement.acknowledge(),
                () = SystemClock.sleep(Duration::from_millis(10)) => {}
            }
        }
    };
    timeout(HANG, ended).await.expect("split shards are read to their ends");
    assert_eq!(feed.handle().status().anomalies, 0);
}

#[tokio::test]
async fn an_unregistered_group_gets_an_error() {
    let stream = kinesis::stream(1).await;
    let client = kinesis::client().await;
    let refused = FanOutStream::register(client.clone(), "nowhere", "ledger").await.map(drop).unwrap_err();
    assert!(refused.to_string().starts_with("cannot describe the stream nowhere: ResourceNotFoundException"));

    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/nowhere/consumer/ledger:1";
    let source = FanOutStream::new(client, &stream, arn);
    let envelope = Envelope::<StreamName, u64, i64>::new();
    let feed = Consumer::start(source, MemoryLeases::default(), envelope, quick()).await.unwrap();
    let handle = feed.handle();
    let told = async {
        while handle.status().unreadable.is_empty() {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
        handle.status()
    };
    let status = timeout(HANG, told).await.expect("it is an error");
    let error = status.unreadable["shardId-000000000000"].to_string();
    let expected = format!(
        "cannot subscribe to the shard shardId-000000000000 of the stream {stream}: ResourceNotFoundException"
    );
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(status.anomalies, 0, "nothing is lost");
}
