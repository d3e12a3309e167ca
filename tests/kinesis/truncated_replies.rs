//! Truncated replies of Kinesis and of DynamoDB Streams. Wherever a reply is cut off, it is not taken for another
//! answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::commit::vec1;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::{LeaseStore, MemoryLeases};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::storage::Put;
use eventsrc_core::{CommitId, EventStorage, Metadata, Timestamp};
use eventsrc_kinesis::ConsumerSettings;
use eventsrc_tests::HANG;
use eventsrc_tests::bus::{Bus, BusFaults, quick, split};
use eventsrc_tests::faulty_http::{FaultyHttp, HttpFault};
use eventsrc_tests::ledgers::LedgerCommit;
use tokio::time::timeout;
use uuid::Uuid;

/// Points at which the replies to an operation are cut off, in hundredths of their length.
const CUTS: [u8; 12] = [0, 0, 0, 1, 2, 5, 10, 25, 50, 75, 90, 99];

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let so = async {
        while !is_so().await {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(HANG, so).await.unwrap_or_else(|_| panic!("{what}"));
}

fn commit(first: u64) -> Arc<LedgerCommit> {
    Arc::new(LedgerCommit {
        key: "account/1".parse().unwrap(),
        first,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(first.into()))),
        payloads: vec1![1].into(),
    })
}

/// Every record is read once, wherever the replies to `operation` are cut off: from a shard that was split and
/// its children, or from the shard of the table.
async fn goes_on(operation: &'static str, of_the_table: bool) {
    let bus = Bus::new(1).await.unwrap();
    let add = async |first| {
        if of_the_table {
            assert!(matches!(bus.storage().put(commit(first)).await, Ok(Put::Stored)));
        } else {
            bus.publisher().publish(&[Change::Commit(commit(first))]).await.unwrap();
        }
    };
    add(1).await;
    if !of_the_table {
        split(&bus.kinesis_client(), &bus.stream, 0).await.unwrap();
    }

    let http = FaultyHttp::scripted_for(operation);
    let through = bus.clone().through(BusFaults::all(&http));
    let leases = MemoryLeases::default();
    let retry = BackoffSettings { longest_wait: Duration::from_millis(50), ..BackoffSettings::default() };
    let settings = ConsumerSettings { discover_every: Duration::from_millis(50), retry, ..quick() };
    let mut feed = if of_the_table {
        through.changes_of_the_table(leases.clone(), settings).await.unwrap()
    } else {
        through.changes_on_kinesis(leases.clone(), settings).await.unwrap()
    };
    let handle = feed.handle();
    let came = Arc::new(Mutex::new(Vec::new()));
    let coming = Arc::clone(&came);
    let reading = tokio::spawn(async move {
        while let Ok(Some(delivery)) = feed.next().await {
            let firsts = delivery.changes.iter().map(|change| match change {
                Change::Commit(commit) => commit.first,
                other => panic!("{other:?}"),
            });
            coming.lock().unwrap().extend(firsts);
            delivery.acknowledgement.acknowledge();
        }
    });
    let shards = if of_the_table { (1, 0) } else { (3, 1) };
    let has_read = async |commits: &[u64]| {
        let leases = leases.leases().await.unwrap();
        let ended = leases.iter().filter(|lease| lease.has_ended()).count();
        *came.lock().unwrap() == commits && (leases.len(), ended) == shards
    };
    until("all is read that is there", async || has_read(&[1]).await).await;

    http.script(CUTS.map(HttpFault::Truncated).map(Some));
    let cuts = CUTS.len() as u64;
    until("the requests are repeated", async || http.injected().total() == cuts).await;
    until("the same shards have ended", async || has_read(&[1]).await).await;
    add(2).await;
    until("it is read on", async || has_read(&[1, 2]).await).await;
    assert_eq!(handle.status().anomalies, 0);
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_records_of_kinesis_do_not_end_a_shard() {
    goes_on("GetRecords", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_shard_lists_of_kinesis_remove_no_shard() {
    goes_on("ListShards", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_records_of_the_table_do_not_end_a_shard() {
    goes_on("GetRecords", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_shard_lists_of_the_table_remove_no_shard() {
    goes_on("DescribeStream", true).await;
}
