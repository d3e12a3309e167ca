//! From a commit in DynamoDB to a row in Postgres, on real servers, through the bus alone.

use std::collections::BTreeMap;
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::codec::Json;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, MemoryLeases};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{StreamName, Synchronizer};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_kinesis::{ConsumerHandle, Publisher, forward};
use eventsrc_tests::HANG;
use eventsrc_tests::bus::{Bus, BusConsumer, LedgerView, merge, quick, split};
use eventsrc_tests::ledgers::{Entries, Filler, Ledger};
use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Settings without sweeps, so that all commits come from the bus.
fn without_sweeps() -> SynchronizerSettings {
    SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() }
}

/// Runs a bridge from the table to the stream, until it is stopped.
async fn bridge(bus: &Bus, leases: &MemoryLeases) -> (ConsumerHandle, JoinHandle<()>) {
    let feed = bus.changes_of_the_table(leases.clone(), quick()).await.unwrap();
    let (handle, publisher) = (feed.handle(), bus.publisher());
    let work = async move {
        forward(feed, &publisher, &BackoffSettings::default(), &SystemClock, &Randomness::from_system())
            .await
            .unwrap();
    };
    (handle, tokio::spawn(work))
}

/// Applies the commits of the stream to the ledger, until it is stopped.
async fn worker(bus: &Bus, leases: &MemoryLeases) -> (ConsumerHandle, JoinHandle<()>) {
    let feed: BusConsumer = bus.changes_on_kinesis(leases.clone(), quick()).await.unwrap();
    let handle = feed.handle();
    let synchronizer = Synchronizer::start(bus.storage(), bus.view().await.unwrap(), without_sweeps());
    let work = async move {
        synchronizer.follow(feed).await.unwrap();
        synchronizer.stop().await;
    };
    (handle, tokio::spawn(work))
}

/// Waits until the ledger has all stored commits, each once.
async fn settles(bus: &Bus, view: &LedgerView) {
    let expected = Entries::of(&bus.storage()).await.unwrap();
    let settled = async {
        loop {
            let found = view.read_ledger().await.unwrap();
            if found.len() >= expected.len() {
                return found;
            }
            SystemClock.sleep(Duration::from_millis(50)).await;
        }
    };
    let found = timeout(HANG, settled).await;
    let found = match found {
        Ok(found) => found,
        Err(_) => panic!("not all came: {:?}", view.read_ledger().await.unwrap().wrong(&expected)),
    };
    assert_eq!(found.wrong(&expected), Vec::<String>::new());
}

async fn ended((handle, work): (ConsumerHandle, JoinHandle<()>)) {
    handle.drain();
    timeout(HANG, work).await.expect("it ends in good order").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_commits_become_rows_while_shards_are_split_and_merged() {
    let bus = Bus::new(2).await.unwrap();
    let (to_kinesis, to_ledger) = (MemoryLeases::default(), MemoryLeases::default());
    let bridge = bridge(&bus, &to_kinesis).await;
    let workers = [worker(&bus, &to_ledger).await, worker(&bus, &to_ledger).await];
    let view = bus.view().await.unwrap();

    let mut filler = Filler::new(20, StdRng::seed_from_u64(1));
    let storage = bus.storage();
    filler.add(&storage, 200).await.unwrap();
    let client = bus.kinesis_client();
    split(&client, &bus.stream, 0).await.unwrap();
    merge(&client, &bus.stream, 1).await.unwrap();
    filler.add(&storage, 200).await.unwrap();
    settles(&bus, &view).await;

    // Each shard that was split or merged was read to its end, and its children after it.
    until(&to_ledger, |leases| {
        leases.len() == 5 && leases.iter().filter(|lease| lease.has_ended()).count() == 3
    })
    .await;

    ended(bridge).await;
    for worker in workers {
        assert_eq!(worker.0.status().anomalies, 0);
        ended(worker).await;
    }
    let leases = to_ledger.leases().await.unwrap();
    assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_gets_its_share_and_a_dead_one_is_replaced() {
    let bus = Bus::new(4).await.unwrap();
    let leases = MemoryLeases::default();
    let view = bus.view().await.unwrap();
    let publisher = bus.publisher();
    let storage = bus.storage();
    let first = worker(&bus, &leases).await;
    owned(&leases, &[4]).await;
    let second = worker(&bus, &leases).await;
    owned(&leases, &[2, 2]).await;

    // The worker is not stopped in order: it disappears.
    second.1.abort();
    Filler::new(40, StdRng::seed_from_u64(2)).add(&storage, 100).await.unwrap();
    publish_all(&storage, &publisher).await;
    settles(&bus, &view).await;
    owned(&leases, &[4]).await;
    assert!(first.0.status().leases_taken >= 6, "{:?}", first.0.status());
    ended(first).await;
}

/// Waits until the shards are distributed so among as many workers.
async fn owned(leases: &MemoryLeases, expected: &[usize]) {
    until(leases, |leases| {
        let mut owners = BTreeMap::<_, usize>::new();
        for lease in leases {
            *owners.entry(&lease.owner).or_default() += 1;
        }
        let mut shares: Vec<_> = owners.into_values().collect();
        shares.sort_unstable();
        shares == expected
    })
    .await;
}

/// Waits until `are_right` holds for the leases.
async fn until(leases: &MemoryLeases, are_right: impl Fn(&[Lease]) -> bool) {
    let right = async {
        while !are_right(&leases.leases().await.unwrap()) {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(HANG, right).await.is_err() {
        panic!("the leases are not as they should be: {:?}", leases.leases().await);
    }
}

/// Publishes all stored commits.
async fn publish_all(
    storage: &DynamoStorage<StreamName, u64, i64>,
    publisher: &Publisher<StreamName, u64, i64, Json>,
) {
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    let commits = pages.iter().flat_map(|page| page.commits().to_vec());
    let changes: Vec<_> = commits.map(Change::Commit).collect();
    publisher.publish(&changes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_deliveries_come_again() {
    let bus = Bus::new(1).await.unwrap();
    let leases = MemoryLeases::default();
    let storage = bus.storage();
    Filler::new(3, StdRng::seed_from_u64(3)).add(&storage, 10).await.unwrap();
    publish_all(&storage, &bus.publisher()).await;

    let mut feed = bus.changes_on_kinesis(leases.clone(), quick()).await.unwrap();
    let first = feed.next().await.unwrap().expect("there is something");
    drop(first.acknowledgement);
    let again = feed.next().await.unwrap().expect("it comes again");
    assert_eq!(first.changes.len(), again.changes.len());
    again.acknowledgement.acknowledge();
    until(&leases, |leases| leases[0].checkpoint != Checkpoint::TrimHorizon).await;
    drop(feed);

    // The next worker begins after it.
    let mut feed = bus.changes_on_kinesis(leases.clone(), quick()).await.unwrap();
    bus.publisher().publish(&[Change::Anything]).await.unwrap();
    let next = feed.next().await.unwrap().expect("there is more");
    assert!(matches!(&next.changes[..], [Change::Anything]), "{:?}", next.changes);
}
