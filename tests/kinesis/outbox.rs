//! An outbox publishes the commits of a storage that has no stream of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsrc_core::codec::Json;
use eventsrc_core::commit::Vec1;
use eventsrc_core::feed::{Change, ChangeFeed, NotifyingStorage};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::{FollowError, SynchronizerSettings};
use eventsrc_core::view::MemoryView;
use eventsrc_core::{
    CommitId, EventStorage, MemoryStorage, Metadata, StreamName, Synchronizer, Timestamp, ViewDefinition,
};
use eventsrc_kinesis::{
    Consumer, ConsumerSettings, Envelope, KinesisStream, Outbox, Publisher, PublisherSettings,
};
use eventsrc_tests::ledgers::{Entries, Filler, LedgerCommit};
use eventsrc_tests::{HANG, kinesis};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;
use uuid::Uuid;

type Storage = MemoryStorage<StreamName, u64, i64>;
type TestOutbox = Outbox<MemoryView<StreamName, u64, i64, ()>, Json>;

/// An outbox that has published nothing yet.
async fn outbox(stream: &str) -> TestOutbox {
    let definition = ViewDefinition::new("outbox", ["account"]).unwrap();
    let settings = PublisherSettings { record_bytes: 2000, ..PublisherSettings::default() };
    let publisher = Publisher::with(kinesis::client().await, stream, Json, settings);
    Outbox::new(MemoryView::new(definition, |_, _| Ok(())), publisher)
}

/// The records of a stream, as read.
#[derive(Default)]
struct Found {
    /// First sequences and ids of the commits of each stream, including repetitions.
    commits: BTreeMap<String, Vec<(u64, Uuid)>>,
    /// Streams of which only a hint came.
    grown: Vec<String>,
}

/// Reads on until this number of commits and of hints has come.
async fn read(feed: &mut Consumer<StreamName, u64, i64>, commits: usize, grown: usize) -> Found {
    let mut found = Found::default();
    let reading = async {
        while found.commits.values().map(Vec::len).sum::<usize>() < commits || found.grown.len() < grown {
            let delivery = feed.next().await.unwrap().expect("it does not end");
            for change in delivery.changes {
                match change {
                    Change::Commit(commit) => {
                        let entry = (commit.first, commit.metadata.commit_id.0);
                        found.commits.entry(commit.key.to_string()).or_default().push(entry);
                    }
                    Change::Stream(key) => found.grown.push(key.to_string()),
                    Change::Anything => panic!("nothing was lost"),
                }
            }
            delivery.acknowledgement.acknowledge();
        }
    };
    timeout(HANG, reading).await.expect("all comes");
    found
}

/// A commit that is too large for a record of the test.
fn large_commit() -> LedgerCommit {
    LedgerCommit {
        key: "account/large".parse().unwrap(),
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(1))),
        payloads: Vec1::try_from_vec(vec![1_234_567; 300]).unwrap().into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_puts_every_commit_onto_the_stream_in_order() {
    let stream = kinesis::stream(1).await;
    let storage = Arc::new(NotifyingStorage::new(Storage::default()));
    let mut filler = Filler::new(5, StdRng::seed_from_u64(4));
    filler.add(&storage, 50).await.unwrap();
    let source = KinesisStream::new(kinesis::client().await, &stream);
    let envelope = Envelope::<StreamName, u64, i64>::new();
    let mut feed = Consumer::start(source, MemoryLeases::default(), envelope, ConsumerSettings::default())
        .await
        .unwrap();

    // Commits from before its start come from the storage, and later ones from the feed.
    let settings = SynchronizerSettings::default;
    let changes = storage.subscribe(100);
    let synchronizer = Synchronizer::start(Arc::clone(&storage), outbox(&stream).await, settings());
    let following = synchronizer.clone();
    let following = tokio::spawn(async move { following.follow(changes).await });
    let before = read(&mut feed, 50, 0).await;
    assert_eq!(before.commits, Entries::of(&storage).await.unwrap().commits);

    filler.add(&storage, 20).await.unwrap();
    assert!(matches!(storage.put(Arc::new(large_commit())).await, Ok(Put::Stored)));
    let after = read(&mut feed, 20, 1).await;
    assert_eq!(after.grown, ["account/large"], "it is too large for a record");
    synchronizer.stop().await;
    assert!(matches!(following.await.unwrap(), Err(FollowError::Stopped(_))));

    // An outbox that lost its positions, or crashed before they were stored, publishes again.
    let synchronizer = Synchronizer::start(Arc::clone(&storage), outbox(&stream).await, settings());
    let mut again = read(&mut feed, 70, 1).await;
    let mut expected = Entries::of(&storage).await.unwrap().commits;
    expected.remove("account/large");
    again.commits.retain(|stream, _| expected.contains_key(stream));
    assert_eq!(again.commits, expected);
    synchronizer.stop().await;
}
