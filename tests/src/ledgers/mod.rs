//! Views that keep a ledger of all applied commits, so that repeated, missing and misordered commits show.

mod deliveries;
mod fresh_reads;
mod kills;
mod postgres;
mod rebuilds;
mod sqlite;
mod worker;
mod zombies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::view::VersionedStore;
use eventsrc_core::{
    Commit, CommitId, ErrorKind, EventStorage, Metadata, StorageError, StreamName, Timestamp, ViewDefinition,
};
use futures::{StreamExt, TryStreamExt};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use uuid::Uuid;

pub use deliveries::{Deliveries, race};
pub use fresh_reads::{FreshReads, read_under_lag};
pub use kills::{ViewKills, kill_workers};
pub use postgres::PostgresLedger;
pub use rebuilds::{RebuildKills, kill_rebuilds};
pub use sqlite::SqliteLedger;
pub use worker::{Job, Target, work};
pub use zombies::{Zombies, resume_stopped};

/// A commit of the streams that ledgers follow.
pub type LedgerCommit = Commit<StreamName, u64, i64>;

/// A view that lists all commits that were ever applied to it.
pub trait Ledger: VersionedStore<Key = StreamName, Sequence = u64, Payload = i64> + Clone {
    /// The applied commits of version 1 or 2.
    fn read_ledger(&self) -> impl Future<Output = Result<Entries, StorageError>> + Send;
}

/// The contents of a ledger: the commits of each stream in the order of application, and the sums of their
/// payloads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    /// First sequence and commit id, by stream.
    pub commits: BTreeMap<String, Vec<(u64, Uuid)>>,
    /// The sum of all payloads of each stream, kept by addition.
    pub totals: BTreeMap<String, i64>,
}

impl Entries {
    /// The expected entries: the fold of all commits in `storage`.
    ///
    /// # Errors
    ///
    /// Those of the storage.
    pub async fn of<St>(storage: &St) -> Result<Self, StorageError>
    where
        St: ScanStorage<Key = StreamName, Sequence = u64, Payload = i64>,
    {
        let mut entries = Self::default();
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for commit in page.commits() {
                let stream = commit.key.to_string();
                *entries.totals.entry(stream.clone()).or_default() += commit.payloads.iter().sum::<i64>();
                entries.commits.entry(stream).or_default().push((commit.first, commit.metadata.commit_id.0));
            }
        }
        Ok(entries)
    }

    /// Number of commits.
    pub fn len(&self) -> usize {
        self.commits.values().map(Vec::len).sum()
    }

    /// True if there are no commits.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// The differences from `expected`, for at most ten streams.
    pub fn wrong(&self, expected: &Self) -> Vec<String> {
        let streams = self.commits.keys().chain(expected.commits.keys());
        let mut wrong = Vec::new();
        for stream in streams.collect::<std::collections::BTreeSet<_>>() {
            let commits = |entries: &Self| entries.commits.get(stream).cloned().unwrap_or_default();
            let (here, there) = (commits(self), commits(expected));
            if here != there {
                let at = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
                wrong.push(format!(
                    "{stream}: {} commits applied where {} are stored, and they differ from number {at} on",
                    here.len(),
                    there.len()
                ));
            } else if self.totals.get(stream) != expected.totals.get(stream) {
                wrong.push(format!("{stream}: the same commits, but another total"));
            }
        }
        wrong.truncate(10);
        wrong
    }
}

/// The definition of a version of the ledger.
pub(crate) fn definition(version: u32) -> ViewDefinition {
    ViewDefinition::new("ledger", ["account"]).expect("the name is well-formed").at_version(version)
}

/// Stores commits of one to three events, spread over streams.
#[derive(Debug)]
pub struct Filler {
    streams: u64,
    random: StdRng,
    /// The next sequence of each stream.
    next: BTreeMap<StreamName, u64>,
}

impl Filler {
    /// A filler of `streams` streams.
    pub fn new(streams: u64, random: StdRng) -> Self {
        Self { streams: streams.max(1), random, next: BTreeMap::new() }
    }

    /// Number of stored events.
    pub fn events(&self) -> u64 {
        self.next.values().map(|next| next - 1).sum()
    }

    /// Stores `commits` more commits. Repeats each put for as long as the storage is unavailable.
    ///
    /// # Errors
    ///
    /// Those of the storage.
    pub async fn add<St>(&mut self, storage: &St, commits: u64) -> Result<()>
    where
        St: EventStorage<Key = StreamName, Sequence = u64, Payload = i64>,
    {
        // Streams are independent; the commits of one are put one after the other.
        let mut by_stream: BTreeMap<StreamName, Vec<Arc<LedgerCommit>>> = BTreeMap::new();
        for _ in 0..commits {
            let commit = Arc::new(self.commit()?);
            by_stream.entry(commit.key.clone()).or_default().push(commit);
        }
        let puts = futures::stream::iter(by_stream.into_values()).map(|commits| async move {
            for commit in commits {
                put(storage, commit).await?;
            }
            anyhow::Ok(())
        });
        puts.buffer_unordered(64).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    fn commit(&mut self) -> Result<LedgerCommit> {
        let key = StreamName::new("account", &self.random.random_range(0..self.streams).to_string())?;
        let first = self.next.entry(key.clone()).or_insert(1u64);
        let events = self.random.random_range(1..4);
        let payloads = (0..events).map(|_| self.random.random_range(-99..100i64)).collect();
        let commit = LedgerCommit {
            key,
            first: *first,
            previous: None,
            time: Timestamp::from_second(1_700_000_000)?,
            metadata: Metadata::new(CommitId(Uuid::from_u128(self.random.next_u64().into()))),
            payloads: Vec1::try_from_vec(payloads)?.into(),
        };
        *first += commit.len() as u64;
        Ok(commit)
    }
}

async fn put<St>(storage: &St, commit: Arc<LedgerCommit>) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = i64>,
{
    loop {
        match storage.put(Arc::clone(&commit)).await {
            Ok(put) => {
                ensure!(matches!(put, Put::Stored | Put::Repeated { .. }), "no other writer");
                return Ok(());
            }
            // A local server under load may time out on its own locks.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                SystemClock.sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
