//! Putting what is saved onto a stream, from wherever it is stored.

use std::sync::Arc;

use eventsrc_core::codec::Codec;
use eventsrc_core::feed::Change;
use eventsrc_core::view::{Applied, BatchOf, QuarantinedCommit, SkippedCommits, StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};

use crate::publisher::Publisher;

/// A view whose rows are on a stream of Kinesis: its [`Synchronizer`](eventsrc_core::Synchronizer) puts every commit there, at
/// least once and in the order of its stream of events.
///
/// It is how changes come onto a stream from a storage that has none of its own: SQLite, Postgres, or any other. What is put, and
/// what is yet to be, is told by the positions of `positions`, which is a view without rows. A commit is put before its position
/// moves, so one that was put right before a crash is put again. The storage itself is the outbox: what was saved while the
/// stream was out of reach, or right before a crash, is found by comparing heads with positions.
pub struct Outbox<V: ViewStore, C> {
    positions: V,
    publisher: Arc<Publisher<V::Key, V::Sequence, V::Payload, C>>,
}

impl<V: ViewStore, C> Outbox<V, C> {
    /// Onto the stream of `publisher`, with positions in `positions`, whose own code has nothing to do.
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

    async fn quarantine(&self, poison: &QuarantinedCommit<V::Sequence>) -> Result<(), StorageError> {
        self.positions.quarantine(poison).await
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
