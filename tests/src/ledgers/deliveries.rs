//! Racing workers, each with a feed that repeats, reorders and loses commits.

use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{MemoryStorage, StorageError, StreamName, Synchronizer};
use futures::TryStreamExt;
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::{Entries, Filler, Ledger, LedgerCommit};

/// Result of the deliveries.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Number of commits delivered to workers.
    pub delivered: u64,
    /// Number of stored commits, each to be applied once.
    pub stored: u64,
    /// Number of applied transactions.
    pub batches: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Number of workers of one view.
const WORKERS: u64 = 4;

/// Delivers about `deliveries` commits to four workers of each view that `open` opens, one view at a time, and
/// compares the rows with the fold.
///
/// # Errors
///
/// If the storage or the view fails.
pub async fn race<V, Fut>(open: impl Fn(u64) -> Fut, deliveries: u64, seed: u64) -> Result<Deliveries>
where
    V: Ledger,
    Fut: Future<Output = Result<V>>,
{
    let mut came = Deliveries::default();
    let mut round = 0;
    while came.delivered < deliveries {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let storage = Arc::new(MemoryStorage::default());
        let commits = (deliveries / WORKERS).clamp(100, 25_000);
        let mut filler = Filler::new(commits / 40, StdRng::from_rng(&mut random));
        filler.add(&*storage, commits).await?;
        let view = open(round).await?;
        let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await?;
        let mut stored: Vec<Arc<LedgerCommit>> =
            pages.iter().flat_map(|page| page.commits().iter().cloned()).collect();
        // The order of a typical feed: streams mixed, each more or less in order.
        stored.sort_by_key(|commit| commit.first);
        let workers = (0..WORKERS).map(|worker| {
            let feed = Disorderly::new(&stored, StdRng::seed_from_u64(random.random::<u64>() + worker));
            let settings = SynchronizerSettings {
                workers: 2,
                events_per_batch: [20, 200, 50, 100][worker as usize],
                sweep_every: None,
                ..SynchronizerSettings::default()
            };
            let synchronizer = Synchronizer::start(Arc::clone(&storage), view.clone(), settings);
            async move {
                let delivered = feed.left();
                synchronizer.follow(feed).await?;
                synchronizer.sweep().await?;
                let status = synchronizer.status().await?;
                synchronizer.stop().await;
                anyhow::Ok((delivered, status.applied_batches))
            }
        });
        for (delivered, batches) in try_join_all(workers).await? {
            came.delivered += delivered;
            came.batches += batches;
        }
        let (expected, found) = (Entries::of(&*storage).await?, view.read_ledger().await?);
        came.stored += expected.len() as u64;
        let what = format!("seed {seed}, round {round}");
        came.violations.extend(found.wrong(&expected).into_iter().map(|wrong| format!("{what}: {wrong}")));
        round += 1;
    }
    Ok(came)
}

/// A feed that loses a fifth of the commits, the last ones among them, repeats a third, and reorders all within
/// windows.
pub(crate) struct Disorderly {
    commits: std::vec::IntoIter<Arc<LedgerCommit>>,
    random: StdRng,
}

impl Disorderly {
    pub(crate) fn new(commits: &[Arc<LedgerCommit>], mut random: StdRng) -> Self {
        let mut disorder = Vec::new();
        for commit in commits {
            let times = [0, 1, 1, 1, 2, 2, 3][random.random_range(0..7)];
            disorder.extend(std::iter::repeat_n(Arc::clone(commit), times));
        }
        disorder.chunks_mut(200).for_each(|window| window.shuffle(&mut random));
        Self { commits: disorder.into_iter(), random }
    }

    fn left(&self) -> u64 {
        self.commits.len() as u64
    }
}

impl ChangeFeed for Disorderly {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    async fn next(&mut self) -> Result<Option<Delivery<StreamName, u64, i64>>, StorageError> {
        let most = self.random.random_range(1..300);
        let changes: Vec<_> = self.commits.by_ref().take(most).map(Change::Commit).collect();
        let delivery = Delivery { changes, acknowledgement: Acknowledgement::none() };
        Ok(Some(delivery).filter(|delivery| !delivery.changes.is_empty()))
    }
}
