//! The publisher keeps the order of each stream while calls fail and some records of a call are rejected.

use std::collections::BTreeMap;
use std::time::Duration;

use eventsrc_core::codec::Json;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use eventsrc_kinesis::{Publisher, PublisherSettings};
use eventsrc_tests::HANG;
use eventsrc_tests::bus::{Bus, BusFaults, quick};
use eventsrc_tests::faulty_http::{Answer, FaultyHttp, HttpFault};
use eventsrc_tests::ledgers::{Entries, Filler};
use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;

/// The faults of the calls, one after the other.
const FAULTS: [Option<HttpFault>; 14] = [
    Some(HttpFault::SomeRejected(0b0000_0001)),
    Some(HttpFault::SomeRejected(0b0101_0101)),
    Some(HttpFault::ReplyLost),
    Some(HttpFault::SomeRejected(0b0111_1111)),
    Some(HttpFault::SomeRejected(0b1111_1111)),
    None,
    Some(HttpFault::NotSent),
    Some(HttpFault::Truncated(0)),
    Some(HttpFault::Truncated(50)),
    Some(HttpFault::Answered(Answer::SHARD_THROTTLED)),
    Some(HttpFault::SomeRejected(0b0011_0011)),
    Some(HttpFault::FailedAfter),
    Some(HttpFault::Answered(Answer::KINESIS_FAILURE)),
    Some(HttpFault::ReplyLate),
];

async fn each_stream_comes_in_order(aggregate: Option<usize>) {
    let bus = Bus::new(4).await.unwrap();
    let storage = MemoryStorage::<StreamName, u64, i64>::default();
    Filler::new(20, StdRng::seed_from_u64(5)).add(&storage, 600).await.unwrap();
    let expected = Entries::of(&storage).await.unwrap();
    let mut changes = Vec::new();
    for name in expected.commits.keys() {
        let pages: Vec<_> = storage.events(&name.parse().unwrap(), None).try_collect().await.unwrap();
        changes.extend(pages.iter().flat_map(|page| page.commits().to_vec()));
    }
    // The streams in turns, each in order.
    changes.sort_by_key(|commit| commit.first);
    let changes: Vec<_> = changes.into_iter().map(Change::Commit).collect();

    let http = FaultyHttp::scripted_for("PutRecords");
    http.script(FAULTS);
    let client = bus.clone().through(BusFaults::all(&http)).kinesis_client();
    let retry = BackoffSettings { longest_wait: Duration::from_millis(20), ..BackoffSettings::default() };
    let settings = PublisherSettings { aggregate, records_per_call: 10, retry, ..Default::default() };
    Publisher::with(client, &bus.stream, Json, settings).publish(&changes).await.unwrap();
    let injected = FAULTS.iter().flatten().count() as u64;
    assert_eq!(http.injected().total(), injected, "there were as many calls");

    let mut came = BTreeMap::<String, Vec<_>>::new();
    let mut feed = bus.changes_on_kinesis(MemoryLeases::default(), quick()).await.unwrap();
    let reading = async {
        while came.values().map(Vec::len).sum::<usize>() < expected.len() {
            let delivery = feed.next().await.unwrap().expect("it does not end");
            delivery.acknowledgement.acknowledge();
            for change in delivery.changes {
                let Change::Commit(commit) = change else { panic!("{change:?}") };
                let all = came.entry(commit.key.to_string()).or_default();
                let entry = (commit.first, commit.metadata.commit_id.0);
                // Repeated records come again. Those that come for the first time are in order.
                if !all.contains(&entry) {
                    all.push(entry);
                }
            }
        }
    };
    timeout(HANG, reading).await.expect("all comes");
    assert_eq!(came, expected.commits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_comes_in_order_whichever_records_are_rejected() {
    each_stream_comes_in_order(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_comes_in_order_whichever_aggregated_records_are_rejected() {
    each_stream_comes_in_order(Some(600)).await;
}
