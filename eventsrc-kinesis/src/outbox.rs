//! Publishing the commits of any storage to a Kinesis stream.

use std::sync::Arc;

use eventsrc_core::codec::Codec;
use eventsrc_core::feed::Change;
use eventsrc_core::view::{Applied, BatchOf, QuarantinedCommit, SkippedCommits, StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};

use crate::publisher::Publisher;

/// A view whose rows are records on a Kinesis stream: its [`Synchronizer`](eventsrc_core::Synchronizer) publishes every
/// commit at least once, in the order of its event stream.
///
/// An outbox publishes from a storage that has no bus of its own, such as SQLite or Postgres. A second view without rows
/// keeps the positions up to which commits are published. A commit is published before its position advances, so a commit
/// that was published right before a crash is published again. The storage itself serves as the outbox: the synchronizer
/// compares heads with positions, and so finds commits that were saved while the Kinesis stream was unavailable.
pub struct Outbox<V: ViewStore, C> {
    positions: V,
    publisher: Arc<Publisher<V::Key, V::Sequence, V::Payload, C>>,
}

impl<V: ViewStore, C> Outbox<V, C> {
    /// Creates an outbox that publishes through `publisher` and keeps its positions in `positions`, a view whose own code
    /// does nothing.
    pub fn new(positions: V, publisher: Publisher<V::Key, V::Sequence, V::Payload, C>) -> Self {
        Self { positions, publisher: Arc::new(publisher) }
    }
}

impl<V: ViewStore, C: Codec<V::Payload>> ViewStore for Outbox<V, C> {
    type Key = V::Key;
    type Sequence = V::Sequence;
    type Payload = V::Payload;

    fn definition(&self) -> &ViewDefinition {
        self.positions.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        let changes: Vec<_> =
            batch.commits().iter().map(|commit| Change::Commit(Arc::clone(commit))).collect();
        self.publisher.publish(&changes).await?;
        self.positions.apply(batch).await
    }

    async fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> Result<Vec<StreamPosition<V::Sequence>>, StorageError> {
        self.positions.positions_of(streams).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, V::Sequence)>, StorageError> {
        self.positions.positions(after, limit).await
    }

    async fn quarantine(&self, entry: &QuarantinedCommit<V::Sequence>) -> Result<(), StorageError> {
        self.positions.quarantine(entry).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<V::Sequence>>, StorageError> {
        self.positions.quarantined().await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.positions.release(stream).await
    }

    async fn skip(&self, skip: &SkippedCommits<V::Sequence>) -> Result<bool, StorageError> {
        self.positions.skip(skip).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<V::Sequence>>, StorageError> {
        self.positions.skipped().await
    }
}
