//! The feeds of users and of groups, for a view that follows both.

use std::sync::Arc;

use eventsrc_core::{Change, ChangeFeed, Commit, Delivery, StorageError};

use super::{FollowedEvent, FollowedKey};

/// A feed of one kind of stream, as a feed of both.
pub(super) struct OfBoth<F: ChangeFeed> {
    pub(super) feed: F,
    pub(super) key: fn(F::Key) -> FollowedKey,
    pub(super) event: fn(F::Payload) -> FollowedEvent,
}

impl<F: ChangeFeed<Sequence = u64, Payload: Clone>> OfBoth<F> {
    fn change(&self, change: Change<F::Key, u64, F::Payload>) -> Change<FollowedKey, u64, FollowedEvent> {
        match change {
            Change::Commit(commit) => {
                let Commit { key, first, time, metadata, payloads } = Arc::unwrap_or_clone(commit);
                let (key, payloads) = ((self.key)(key), payloads.mapped(self.event));
                Change::Commit(Arc::new(Commit { key, first, time, metadata, payloads }))
            }
            Change::Stream(key) => Change::Stream((self.key)(key)),
            Change::Anything => Change::Anything,
        }
    }
}

impl<F: ChangeFeed<Sequence = u64, Payload: Clone>> ChangeFeed for OfBoth<F> {
    type Key = FollowedKey;
    type Sequence = u64;
    type Payload = FollowedEvent;

    async fn next(&mut self) -> Result<Option<Delivery<FollowedKey, u64, FollowedEvent>>, StorageError> {
        let Some(Delivery { changes, acknowledgement }) = self.feed.next().await? else { return Ok(None) };
        let changes = changes.into_iter().map(|change| self.change(change)).collect();
        Ok(Some(Delivery { changes, acknowledgement }))
    }
}
