//! The feeds of users and of groups, for a view that follows both.

use eventsrc_core::StorageError;
use eventsrc_core::feed::{ChangeFeed, Delivery};

use super::{FollowedEvent, FollowedKey};

/// A feed of one kind of stream, as a feed of both.
pub(super) struct OfBoth<F: ChangeFeed> {
    pub(super) feed: F,
    pub(super) key: fn(F::Key) -> FollowedKey,
    pub(super) event: fn(F::Payload) -> FollowedEvent,
}

impl<F: ChangeFeed<Sequence = u64, Payload: Clone>> ChangeFeed for OfBoth<F> {
    type Key = FollowedKey;
    type Sequence = u64;
    type Payload = FollowedEvent;

    async fn next(&mut self) -> Result<Option<Delivery<FollowedKey, u64, FollowedEvent>>, StorageError> {
        let Some(Delivery { changes, acknowledgement }) = self.feed.next().await? else { return Ok(None) };
        let changes = changes.into_iter().map(|change| change.mapped(self.key, self.event)).collect();
        Ok(Some(Delivery { changes, acknowledgement }))
    }
}
