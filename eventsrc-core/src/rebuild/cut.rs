//! A scan that ends each stream where it is wanted.

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

/// Up to which commit of each stream a view is built.
#[derive(Debug, Clone)]
pub(super) enum Until {
    Latest,
    Time(Timestamp),
    Token(Token),
}

/// A feed without the streams that a view does not follow, and without what lies beyond a point. The feed brings each stream
/// in order.
pub(super) struct Cut<F: ChangeFeed> {
    feed: F,
    definition: ViewDefinition,
    until: Until,
    /// Streams whose end was reached: what comes after a commit that was left out is left out as well.
    ended: HashSet<F::Key>,
    /// How many events were brought of streams that the view follows.
    read: Arc<AtomicU64>,
}

impl<F: ChangeFeed> Cut<F> {
    pub(super) fn new(feed: F, definition: ViewDefinition, until: Until, read: Arc<AtomicU64>) -> Self {
        Self { feed, definition, until, ended: HashSet::new(), read }
    }

    fn keeps(&mut self, commit: &Commit<F::Key, F::Sequence, F::Payload>) -> bool {
        if !self.definition.follows(commit.key.category()) {
            return false;
        }
        self.read.fetch_add(commit.len() as u64, Ordering::Relaxed);
        let wanted = match &self.until {
            Until::Latest => return true,
            Until::Time(time) => commit.time <= *time && !self.ended.contains(&commit.key),
            Until::Token(token) => token.sequence(&commit.key) >= Some(commit.last()),
        };
        if !wanted && matches!(self.until, Until::Time(_)) {
            self.ended.insert(commit.key.clone());
        }
        wanted
    }
}

impl<F: ChangeFeed> ChangeFeed for Cut<F> {
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
            // The view reads the stream by itself, as far as it goes, and finds what is wrong with it.
            None => Ok(Some(delivery)),
            Some(_) if matches!(self.until, Until::Latest) => Ok(Some(delivery)),
            Some(key) => {
                let what = "cannot tell where the stream is to end, because it cannot be read";
                Err(StorageError::new(ErrorKind::Corrupt, what).on(&key))
            }
        }
    }
}
