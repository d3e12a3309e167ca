//! Saves that decide on the latest sequence.

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

/// Saves what operations decide, as commits, and remembers where the streams are.
///
/// A save decides on what is known of the stream, puts a commit right after it, and, if another writer was there
/// first, decides again. What it knows is remembered from the last save, or comes with a trusted token, and then the
/// save is one request. That it may be old costs a retry and nothing else: the put itself checks it, and a rejection is
/// final only if it was decided on what was read in this very call.
///
/// To decide on a folded value instead of a sequence, see [`Decider`].
pub struct SaveApi<St: EventStorage> {
    pub(super) writer: Writer<St>,
    heads: Cache<St::Key, Head<St::Sequence>>,
}

impl<St: EventStorage> SaveApi<St> {
    /// Saves to `storage` with the default settings, the system's clock and its randomness.
    pub fn new(storage: St) -> Self {
        Self::with(
            storage,
            SaveSettings::default(),
            Arc::new(SystemClock),
            Arc::new(Randomness::from_system()),
        )
    }

    /// Saves to `storage` with these settings, this clock and this randomness.
    pub fn with(
        storage: St,
        settings: SaveSettings,
        clock: Arc<dyn Clock>,
        randomness: Arc<Randomness>,
    ) -> Self {
        let heads = Cache::new(settings.remembered);
        Self { writer: Writer { storage, settings, clock, randomness }, heads }
    }

    /// Saves what `operation` decides on the stream's latest sequence.
    ///
    /// # Errors
    ///
    /// [`SaveError`] if the storage fails; the commit may or may not be stored, and the error has its id. Contention
    /// and rejection are outcomes, not errors.
    pub async fn save<R>(
        &self,
        key: &St::Key,
        operation: Operation<St::Payload, R, Option<St::Sequence>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_with(key, &Context::default(), operation).await
    }

    /// Saves what `operation` decides, in the context of a command.
    ///
    /// # Errors
    ///
    /// As for [`save`](SaveApi::save).
    pub async fn save_with<R>(
        &self,
        key: &St::Key,
        context: &Context,
        operation: Operation<St::Payload, R, Option<St::Sequence>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_all(key, context, std::slice::from_ref(&operation)).await
    }

    /// Saves what all `operations` decide, in one commit or not at all. Each sees the effect of those before it; the
    /// first that rejects rejects the batch.
    ///
    /// # Errors
    ///
    /// As for [`save`](SaveApi::save); `Invalid` for a batch of none.
    pub async fn save_all<R>(
        &self,
        key: &St::Key,
        context: &Context,
        operations: &[Operation<St::Payload, R, Option<St::Sequence>>],
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        SaveLoop { writer: &self.writer, key, context, operations, knowledge: &Heads { saves: self, key } }
            .run()
            .await
    }

    /// The storage.
    pub fn storage(&self) -> &St {
        &self.writer.storage
    }
}

/// Knowledge of no more than where a stream is.
struct Heads<'a, St: EventStorage> {
    saves: &'a SaveApi<St>,
    key: &'a St::Key,
}

impl<St: EventStorage> Knowledge<St> for Heads<'_, St> {
    type Known = Option<St::Sequence>;

    fn nothing(&self) -> Self::Known {
        None
    }

    fn remembered(&self) -> Option<Basis<Self::Known>> {
        self.saves.heads.get(self.key).map(|head| Basis::of_head(Some(head)))
    }

    fn named(&self, sequence: St::Sequence) -> Option<Basis<Self::Known>> {
        Some(Basis { known: Some(sequence), time: None, fresh: false })
    }

    async fn read(&self, _: Self::Known) -> Result<Basis<Self::Known>, StorageError> {
        let head = self.saves.writer.storage.latest(self.key).await?;
        Ok(Basis { fresh: true, ..Basis::of_head(head) })
    }

    fn then(&self, _: Self::Known, commit: &CommitOf<St>) -> Self::Known {
        Some(commit.last())
    }

    fn remember(&self, known: Self::Known, time: Option<Timestamp>) {
        if let Some((sequence, time)) = known.zip(time) {
            self.saves.heads.insert(self.key.clone(), Head { sequence, time });
        }
    }

    fn forget(&self) {
        self.saves.heads.remove(self.key);
    }
}
