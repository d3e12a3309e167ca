//! A reader that follows the hints of a feed and keeps the commits that it gets.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::feed::{Change, ChangeFeed, Delivery};
use eventsrc_core::storage::Segment;
use eventsrc_core::{ErrorKind, StreamName};
use eventsrc_testkit::conformance::Sample;
use futures::TryStreamExt;
use rand::RngExt;
use rand::rngs::StdRng;

use super::{Draft, Samples, next_with_interruptions};

/// The commits of each stream, by their first sequence.
pub(super) type CommitsByStream = BTreeMap<StreamName, BTreeMap<u64, Draft>>;

/// The commits in `storage`.
pub(super) async fn stored<St: Samples>(storage: &St) -> CommitsByStream {
    let mut held = CommitsByStream::new();
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    for commit in pages.iter().flat_map(|page| page.commits()) {
        held.entry(commit.key.clone()).or_default().insert(commit.first, commit.clone());
    }
    held
}

pub(super) struct Reader<St> {
    /// The storage without faults, from which hints are resolved.
    storage: St,
    pub(super) held: CommitsByStream,
    /// Number of delivered commits, of hints to a stream and of hints to any stream.
    pub(super) commits: usize,
    pub(super) streams: usize,
    pub(super) anything: usize,
    /// Number of errors of the feed.
    pub(super) errors: usize,
    /// Streams that cannot be read to their ends.
    pub(super) unreadable: BTreeSet<StreamName>,
}

impl<St: Samples> Reader<St> {
    pub(super) fn new(storage: St) -> Self {
        Self {
            storage,
            held: CommitsByStream::new(),
            commits: 0,
            streams: 0,
            anything: 0,
            errors: 0,
            unreadable: BTreeSet::new(),
        }
    }

    /// Takes all deliveries until the feed ends, cancelling calls and pausing at random.
    pub(super) async fn follow<F>(&mut self, mut feed: F, draws: &mut StdRng)
    where
        F: ChangeFeed<Key = StreamName, Sequence = u64, Payload = Sample>,
    {
        loop {
            match next_with_interruptions(&mut feed, draws).await {
                Ok(Some(delivery)) => self.take(delivery).await,
                Ok(None) => return,
                Err(error) if error.kind() == ErrorKind::Unavailable => self.errors += 1,
                Err(error) => panic!("{error:?}"),
            }
            for _ in 0..draws.random_range(0..30) {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(super) async fn take(&mut self, delivery: Delivery<StreamName, u64, Sample>) {
        assert!(!delivery.changes.is_empty(), "a delivery has a change");
        for change in delivery.changes {
            match change {
                Change::Commit(commit) => {
                    self.commits += 1;
                    self.hold(&commit);
                }
                Change::Stream(key) => {
                    self.streams += 1;
                    self.read(&key).await;
                }
                Change::Anything => {
                    self.anything += 1;
                    self.look_at_all().await;
                }
            }
        }
        delivery.acknowledgement.acknowledge();
    }

    pub(super) async fn look_at_all(&mut self) {
        let heads: Vec<_> = self.storage.heads(Segment::ALL).try_collect().await.unwrap();
        for (key, _) in heads.concat() {
            self.read(&key).await;
        }
    }

    async fn read(&mut self, key: &StreamName) {
        let storage = self.storage.clone();
        let mut pages = storage.events(key, None);
        loop {
            match pages.try_next().await {
                Ok(Some(page)) => page.commits().iter().for_each(|commit| self.hold(commit)),
                Ok(None) => return,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                    self.unreadable.insert(key.clone());
                    return;
                }
            }
        }
    }

    fn hold(&mut self, commit: &Draft) {
        let held = self
            .held
            .entry(commit.key.clone())
            .or_default()
            .entry(commit.first)
            .or_insert_with(|| commit.clone());
        assert_eq!(held, commit, "a commit is always handed over as it was put");
    }
}
