//! Saves that are decided on the latest sequence.

use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::sync::Cache;

use super::operation::Operation;
use super::outcome::{Outcome, SaveError};
use super::save_loop::{Basis, Knowledge, SaveLoop, Writer};
use super::settings::{Context, SaveSettings};
use crate::clock::{Clock, Randomness, SystemClock};
use crate::commit::Head;
use crate::storage::{CommitOf, EventStorage, StorageError};

/// Saves the events that operations decide on, with optimistic concurrency, and caches the heads of streams.
///
/// A save decides on the latest known sequence of the stream, and puts a commit at the next one. After a conflict it
/// decides again on the new sequence, up to the limit of [`RetryPolicy`](crate::retry::RetryPolicy).
///
/// A warm save takes the sequence from the cache or from a trusted token, and is one request. A stale sequence costs
/// only a retry, because the put checks it. A rejection is final only if it was decided on a sequence that was read
/// during the same call.
///
/// To decide on a folded value instead of a sequence, see [`Decider`](super::Decider).
pub struct SaveApi<St: EventStorage> {
    pub(super) writer: Writer<St>,
    heads: Cache<St::Key, Head<St::Sequence>>,
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
        let heads = Cache::new(settings.remembered);
        Self { writer: Writer { storage, settings, clock, randomness }, heads }
    }

    /// Saves the events that `operation` decides on, given the latest sequence of the stream.
    ///
    /// # Errors
    ///
    /// [`SaveError`] if the storage fails. The commit may or may not be stored, and the error has its id. Rejection and
    /// contention are outcomes, not errors.
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
        self.save_all(key, context, std::slice::from_ref(&operation)).await
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
        SaveLoop { writer: &self.writer, key, context, operations, knowledge: &Heads { api: self, key } }
            .run()
            .await
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

    fn initial(&self) -> Self::Known {
        None
    }

    fn cached(&self) -> Option<Basis<Self::Known>> {
        self.api.heads.get(self.key).map(|head| Basis::of_head(Some(head)))
    }

    fn basis_at(&self, sequence: St::Sequence) -> Option<Basis<Self::Known>> {
        Some(Basis { known: Some(sequence), time: None, fresh: false })
    }

    async fn read(&self, _: Self::Known) -> Result<Basis<Self::Known>, StorageError> {
        let head = self.api.writer.storage.latest(self.key).await?;
        Ok(Basis { fresh: true, ..Basis::of_head(head) })
    }

    fn after(&self, _: Self::Known, commit: &CommitOf<St>) -> Self::Known {
        Some(commit.last())
    }

    fn cache(&self, known: Self::Known, time: Option<Timestamp>) {
        if let Some((sequence, time)) = known.zip(time) {
            self.api.heads.insert(self.key.clone(), Head { sequence, time });
        }
    }

    fn evict(&self) {
        self.api.heads.remove(self.key);
    }
}
