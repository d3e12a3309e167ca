//! Feeds of users or groups, for a view that follows both.

use eventsrc_core::StorageError;
use eventsrc_core::feed::{ChangeFeed, Delivery};

use super::followed::{FollowedEvent, FollowedKey};

/// Converts a feed of one kind of stream to a feed of both kinds.
pub(super) struct EitherFeed<F: ChangeFeed> {
    pub(super) feed: F,
    pub(super) key: fn(F::Key) -> FollowedKey,
    pub(super) event: fn(F::Payload) -> FollowedEvent,
}

impl<F: ChangeFeed<Sequence = u64, Payload: Clone>> ChangeFeed for EitherFeed<F> {
    type Key = FollowedKey;
    type Sequence = u64;
    type Payload = FollowedEvent;

    async fn next(&mut self) -> Result<Option<Delivery<FollowedKey, u64, FollowedEvent>>, StorageError> {
        let Some(Delivery { changes, acknowledgement }) = self.feed.next().await? else { return Ok(None) };
        let changes = changes.into_iter().map(|change| change.mapped(self.key, self.event)).collect();
        Ok(Some(Delivery { changes, acknowledgement }))
    }
}
