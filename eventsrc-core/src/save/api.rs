//! Saves that are decided on the latest sequence.

use std::sync::Arc;

use super::batch::Batch;
use super::knowledge::{Basis, Knowledge};
use super::operation::Operation;
use super::outcome::{Outcome, SaveError};
use super::save_loop::SaveLoop;
use super::settings::{Context, SaveSettings};
use super::streams::Streams;
use super::writer::Writer;
use crate::clock::{Clock, Randomness, SystemClock};
use crate::commit::{CommitId, Head};
use crate::storage::{CommitOf, EventStorage, StorageError};

/// Saves the events that operations decide on, with optimistic concurrency, and remembers the heads of streams.
///
/// A save decides on the latest known sequence of the stream, and puts a commit at the next one. After a conflict it
/// decides again on the new sequence, up to the limit of [`RetryPolicy`](crate::retry::RetryPolicy). Saves of one stream
/// through one API wait for each other, in order, so only writers of other processes conflict with them.
///
/// A warm save takes the sequence from what the API remembers or from a trusted token, and is one request, also with an
/// idempotency key. A stale sequence costs only a retry, because the put checks it. A decision not to save is final only
/// if it was decided on a sequence that was read during the same call.
///
/// If the storage was restored from a backup, what is remembered may be ahead of it. The save then fails with kind
/// `Diverged`, nothing is stored, and the next save reads the stream again.
///
/// To decide on a folded value instead of a sequence, see [`Decider`](super::Decider).
pub struct SaveApi<St: EventStorage> {
    pub(super) writer: Writer<St>,
}

impl<St: EventStorage> SaveApi<St> {
    /// Creates an API that saves to `storage`, with default settings, the system clock and system randomness.
    pub fn new(storage: St) -> Self {
        Self::with(
            storage,
            SaveSettings::default(),
            Arc::new(SystemClock),
            Arc::new(Randomness::from_system()),
        )
    }

    /// Creates an API that saves to `storage`, with the given settings, clock and randomness.
    pub fn with(
        storage: St,
        settings: SaveSettings,
        clock: Arc<dyn Clock>,
        randomness: Arc<Randomness>,
    ) -> Self {
        let streams = Streams::new(settings.remembered, settings.waiting);
        Self { writer: Writer { storage, settings, clock, randomness, streams } }
    }

    /// Saves the events that `operation` decides on, given the latest sequence of the stream.
    ///
    /// # Errors
    ///
    /// [`SaveError`] if the storage fails. The error has the id of the commit, and tells if the commit may be stored.
    /// Rejection and contention are outcomes, not errors.
    pub async fn save<R>(
        &self,
        key: &St::Key,
        operation: Operation<St::Payload, R, Option<St::Sequence>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_with(key, &Context::default(), operation).await
    }

    /// Saves like [`save`](SaveApi::save), with a commit id, a token and metadata from `context`.
    ///
    /// # Errors
    ///
    /// Same as for [`save`](SaveApi::save).
    pub async fn save_with<R>(
        &self,
        key: &St::Key,
        context: &Context,
        operation: Operation<St::Payload, R, Option<St::Sequence>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        let knowledge = Heads { api: self, key };
        SaveLoop { writer: &self.writer, key, context, decide: &operation, knowledge: &knowledge }.run().await
    }

    /// Saves the events of all `operations` in one commit, or none of them. Each operation sees the effect of those
    /// before it. The first operation that rejects, rejects the whole batch.
    ///
    /// # Errors
    ///
    /// Same as for [`save`](SaveApi::save); `Invalid` if `operations` is empty.
    pub async fn save_all<R>(
        &self,
        key: &St::Key,
        context: &Context,
        operations: &[Operation<St::Payload, R, Option<St::Sequence>>],
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        let knowledge = Heads { api: self, key };
        let decide = &Batch { operations, knowledge: &knowledge };
        SaveLoop { writer: &self.writer, key, context, decide, knowledge: &knowledge }.run().await
    }

    /// Returns the storage.
    pub fn storage(&self) -> &St {
        &self.writer.storage
    }
}

/// Knowledge of the head of a stream.
struct Heads<'a, St: EventStorage> {
    api: &'a SaveApi<St>,
    key: &'a St::Key,
}

impl<St: EventStorage> Knowledge<St> for Heads<'_, St> {
    type Known = Option<St::Sequence>;

    fn remembered(&self, head: Option<&Head<St::Sequence>>) -> Basis<Self::Known> {
        match head {
            Some(head) => Basis::remembered(Some(head.sequence), Some(head)),
            None => Basis::nothing(None),
        }
    }

    /// The writer remembers the head.
    fn give_back(&self, _: Basis<Self::Known>) {}

    fn at(&self, sequence: St::Sequence, commit_id: Option<CommitId>) -> Option<Basis<Self::Known>> {
        Some(Basis { commit_id, ..Basis::remembered::<St::Sequence>(Some(sequence), None) })
    }

    async fn read(&self, basis: &mut Basis<Self::Known>) -> Result<(), StorageError> {
        let head = self.api.writer.storage.latest(self.key).await?;
        basis.known = head.map(|head| head.sequence);
        basis.was_read(head.as_ref());
        Ok(())
    }

    fn advance(&self, known: &mut Self::Known, commit: &CommitOf<St>) {
        *known = Some(commit.last());
    }
}
