//! Saving: check-and-set on a stream, bounded, and safe under lost replies.

mod decider;
mod outcome;
mod save_loop;

use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::sync::Cache;

pub use decider::Decider;
pub use outcome::{Outcome, SaveError, Saved};
use save_loop::{Basis, Knowledge, SaveLoop};

use crate::clock::{Clock, Randomness, SystemClock};
use crate::commit::{CommitId, Head};
use crate::error::StorageError;
use crate::operation::Operation;
use crate::retry::RetryPolicy;
use crate::sequence::Zone;
use crate::storage::{CommitOf, EventStorage};
use crate::token::Token;

/// Saves what operations decide, as commits, and remembers where the streams are.
///
/// A save decides on what is known of the stream, puts a commit right after it, and, if another writer was there
/// first, decides again. What it knows is remembered from the last save, or comes with a trusted token, and then the
/// save is one request. That it may be old costs a retry and nothing else: the put itself checks it, and a rejection is
/// final only if it was decided on what was read in this very call.
///
/// To decide on a folded value instead of a sequence, see [`Decider`].
pub struct SaveApi<St: EventStorage> {
    storage: St,
    settings: SaveSettings,
    clock: Arc<dyn Clock>,
    randomness: Arc<Randomness>,
    heads: Cache<St::Key, Head<St::Sequence>>,
}

/// How saves are made.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSettings {
    /// How often, and at what pace, contention is met with another try.
    pub retry: RetryPolicy,
    /// The mark that this writer's events bear, where the sequence has zones.
    pub zone: Zone,
    /// Of how many streams the last known place is remembered.
    pub remembered: usize,
}

/// 20 tries from 5 ms, zone 0, 10,000 streams remembered.
impl Default for SaveSettings {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), zone: Zone::default(), remembered: 10_000 }
    }
}

/// What a caller says about a save, beyond the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The caller's own id for the commit, which makes the command idempotent: sent again, with the token that it had
    /// the first time or with none, it is found and answered as the success it was. With a token, only commits after
    /// the token are searched; without, the whole stream is.
    pub commit_id: Option<CommitId>,
    /// What the caller knows. If it is trusted and names the stream, the save begins there and reads nothing; a token
    /// that is not trusted is taken for no more than the place after which a repeated command is looked for.
    pub token: Token,
    /// See [`Metadata::correlation_id`](crate::Metadata::correlation_id).
    pub correlation_id: Option<String>,
    /// See [`Metadata::causation_id`](crate::Metadata::causation_id).
    pub causation_id: Option<String>,
    /// See [`Metadata::actor`](crate::Metadata::actor).
    pub actor: Option<String>,
    /// See [`Metadata::dependencies`](crate::Metadata::dependencies).
    pub dependencies: Token,
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
        Self { storage, settings, clock, randomness, heads }
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
        SaveLoop { saves: self, key, context, operations, knowledge: &Heads { saves: self, key } }.run().await
    }

    /// The storage.
    pub fn storage(&self) -> &St {
        &self.storage
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
        let head = self.saves.storage.latest(self.key).await?;
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
