//! Change feeds over real storages: every stored commit is delivered, or covered by a hint.

mod notifying;
mod poll;
mod reader;
mod scan;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use eventsrc_core::clock::Randomness;
use eventsrc_core::codec::{Json, Unchecked};
use eventsrc_core::commit::Vec1;
use eventsrc_core::feed::{Change, ChangeFeed, Delivery};
use eventsrc_core::storage::{Put, ScanStorage};
use eventsrc_core::{Commit, MemoryStorage, Metadata, StorageError, StreamName, Timestamp};
use eventsrc_sqlite::{Database, Settings, SqliteStorage};
use eventsrc_testkit::conformance::Sample;
use eventsrc_tests::HANG;
use rand::RngExt;
use rand::rngs::StdRng;
use tempfile::TempDir;

type Draft = Arc<Commit<StreamName, u64, Sample>>;
type Memory = Arc<MemoryStorage<StreamName, u64, Sample>>;
/// It also stores samples that cannot be read.
type Sqlite = SqliteStorage<StreamName, u64, Sample, Unchecked<Json>>;

/// A storage of samples.
trait Samples: ScanStorage<Key = StreamName, Sequence = u64, Payload = Sample> + Clone {}

impl<St: ScanStorage<Key = StreamName, Sequence = u64, Payload = Sample> + Clone> Samples for St {}

/// A storage in its own file, with this number of commits a page.
async fn sqlite(commits_per_page: usize) -> (TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { commits_per_page, ..Settings::default() };
    let database = Database::open_with(folder.path().join("fed.db"), settings).await.unwrap();
    (folder, SqliteStorage::with_codec(&database, Unchecked(Json)))
}

fn name(id: &str) -> StreamName {
    StreamName::new("sample", id).unwrap()
}

/// A commit with a new id.
fn commit(key: &StreamName, first: u64, events: usize) -> Draft {
    let time = Timestamp::from_microsecond(1_800_000_000_000_000 + (first % 1_000_000) as i64).unwrap();
    let payloads = (0..events).map(|place| Sample::Text(format!("{key} {first}+{place}"))).collect();
    Arc::new(Commit {
        key: key.clone(),
        first,
        previous: None,
        time,
        metadata: Metadata::new(Randomness::from_system().commit_id(time)),
        payloads: Vec1::try_from_vec(payloads).unwrap().into(),
    })
}

async fn store<St: Samples>(storage: &St, commit: &Draft) {
    let put = storage.put(Arc::clone(commit)).await.unwrap();
    assert!(matches!(put, Put::Stored), "{put:?}");
}

/// Stores commits of 1, 2 and 3 events on each of `streams` streams, in turns.
async fn fill<St: Samples>(storage: &St, streams: usize) -> Vec<Draft> {
    let mut stored = Vec::new();
    for (first, events) in [(1, 1), (2, 2), (4, 3)] {
        for stream in 0..streams {
            let commit = commit(&name(&stream.to_string()), first, events);
            store(storage, &commit).await;
            stored.push(commit);
        }
    }
    stored
}

/// The next changes of a feed that has some now or soon.
async fn next<F: ChangeFeed>(feed: &mut F) -> Vec<Change<F::Key, F::Sequence, F::Payload>> {
    let next = tokio::time::timeout(HANG, feed.next()).await;
    let delivery = next.expect("the feed says something").unwrap().expect("the feed goes on");
    delivery.acknowledgement.acknowledge();
    delivery.changes
}

/// The commits of these changes. Panics if there is another change.
fn commits<K: std::fmt::Debug, S: std::fmt::Debug, E: std::fmt::Debug>(
    changes: Vec<Change<K, S, E>>,
) -> Vec<Arc<Commit<K, S, E>>> {
    let commit = |change| match change {
        Change::Commit(commit) => commit,
        other => panic!("no commit: {other:?}"),
    };
    changes.into_iter().map(commit).collect()
}

/// Polls for the next delivery until it is there, and drops some of the futures before that: no change may be
/// lost by it.
async fn next_with_interruptions<F: ChangeFeed>(
    feed: &mut F,
    draws: &mut StdRng,
) -> Result<Option<Delivery<F::Key, F::Sequence, F::Payload>>, StorageError> {
    loop {
        if let Some(delivery) = within_polls(feed.next(), draws.random_range(1..4)).await {
            return delivery;
        }
        tokio::task::yield_now().await;
    }
}

/// The output of `future` if it is ready after at most `polls` polls. Otherwise the future is dropped.
async fn within_polls<T>(future: impl Future<Output = T>, mut polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => {
            polls -= 1;
            if polls == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// Fails if `future` is ready at its first poll.
async fn assert_waits<T>(future: impl Future<Output = T>) {
    assert!(within_polls(future, 1).await.is_none(), "the future must not be ready");
}
