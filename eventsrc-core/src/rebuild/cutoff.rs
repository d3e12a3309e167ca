//! A feed that ends each stream at a given point.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::commit::Commit;
use crate::feed::{Change, ChangeFeed, Delivery};
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamKey;
use crate::token::Token;
use crate::view::ViewDefinition;

/// Point of each stream up to which a view is built.
#[derive(Debug, Clone)]
pub(super) enum Cutoff {
    /// The latest commit.
    Latest,
    /// The last commit before the first one that is later than this time.
    Time(Timestamp),
    /// The last commit that ends at or before the sequence of the token.
    Token(Token),
}

/// Filters a feed: removes the streams that a view does not follow, and the commits after the cutoff. The inner feed
/// must deliver each stream in order.
pub(super) struct CutoffFeed<F: ChangeFeed> {
    feed: F,
    definition: ViewDefinition,
    cutoff: Cutoff,
    /// Streams with a commit after the cutoff. All their later commits are removed as well.
    ended: HashSet<F::Key>,
    /// Number of events that the inner feed delivered of the streams that the view follows.
    read: Arc<AtomicU64>,
}

impl<F: ChangeFeed> CutoffFeed<F> {
    pub(super) fn new(feed: F, definition: ViewDefinition, cutoff: Cutoff, read: Arc<AtomicU64>) -> Self {
        Self { feed, definition, cutoff, ended: HashSet::new(), read }
    }

    /// True if the commit is before the cutoff and the view follows its stream. Counts its events.
    fn keeps(&mut self, commit: &Commit<F::Key, F::Sequence, F::Payload>) -> bool {
        if !self.definition.follows(commit.key.category()) {
            return false;
        }
        self.read.fetch_add(commit.len() as u64, Ordering::Relaxed);
        let keeps = match &self.cutoff {
            Cutoff::Latest => return true,
            Cutoff::Time(time) => commit.time <= *time && !self.ended.contains(&commit.key),
            Cutoff::Token(token) => token.sequence(&commit.key) >= Some(commit.last()),
        };
        if !keeps && matches!(self.cutoff, Cutoff::Time(_)) {
            self.ended.insert(commit.key.clone());
        }
        keeps
    }
}

impl<F: ChangeFeed> ChangeFeed for CutoffFeed<F> {
    type Key = F::Key;
    type Sequence = F::Sequence;
    type Payload = F::Payload;

    async fn next(&mut self) -> Result<Option<Delivery<F::Key, F::Sequence, F::Payload>>, StorageError> {
        let Some(mut delivery) = self.feed.next().await? else { return Ok(None) };
        let mut unreadable = None;
        delivery.changes.retain(|change| match change {
            Change::Commit(commit) => self.keeps(commit),
            Change::Stream(key) if !self.definition.follows(key.category()) => false,
            Change::Stream(key) => {
                unreadable = Some(key.clone());
                true
            }
            Change::Anything => true,
        });
        match unreadable {
            // The synchronizer reads the stream itself, and finds the unreadable event.
            None => Ok(Some(delivery)),
            Some(_) if matches!(self.cutoff, Cutoff::Latest) => Ok(Some(delivery)),
            Some(key) => {
                let what = "cannot find the cutoff of the stream, because one of its events cannot be read";
                Err(StorageError::new(ErrorKind::Corrupt, what).on(&key))
            }
        }
    }
}
