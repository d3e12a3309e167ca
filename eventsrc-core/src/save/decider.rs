//! Saves that are decided on a folded value.

use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::sync::Cache;

use super::api::SaveApi;
use super::operation::Operation;
use super::outcome::{Outcome, SaveError};
use super::save_loop::{Basis, Knowledge, SaveLoop};
use super::settings::Context;
use crate::query::api::{KeyOf, ValueOf};
use crate::query::fold::{Folding, Until};
use crate::query::{Consistency, Fold, Query, QueryApi};
use crate::snapshot::{NoSnapshots, Snapshot, SnapshotStorage};
use crate::storage::{CommitOf, EventStorage, StorageError};

/// Saves what operations decide on a folded value, and remembers the values.
///
/// A save begins from the value that the last save of the key left behind, so that it is one request while nobody else
/// writes. A conflict is folded into the value from the commit that was in the way, or from the events that were missed.
///
/// Values are remembered as many as [`SaveSettings::remembered`](super::SaveSettings::remembered) says.
pub struct Decider<St, F, Sn = NoSnapshots<KeyOf<St, F>, <St as EventStorage>::Sequence, ValueOf<St, F>>>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    saves: Arc<SaveApi<St>>,
    query: Arc<QueryApi<St, F, Sn>>,
    values: Cache<F::Key, Snapshot<St::Sequence, F::Value>>,
}

type SnapshotOf<St, F> = Snapshot<<St as EventStorage>::Sequence, ValueOf<St, F>>;

impl<St, F, Sn> Decider<St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash, Value: Clone>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    /// Saves with `saves` what is decided on the answers of `query`. Both are over the same storage.
    pub fn new(saves: Arc<SaveApi<St>>, query: Arc<QueryApi<St, F, Sn>>) -> Self {
        let values = Cache::new(saves.writer.settings.remembered);
        Self { saves, query, values }
    }

    /// Saves what `operation` decides on the folded value of `key`.
    ///
    /// # Errors
    ///
    /// As for [`SaveApi::save`].
    pub async fn save<R>(
        &self,
        key: &F::Key,
        operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_with(key, &Context::default(), operation).await
    }

    /// Saves what `operation` decides, in the context of a command.
    ///
    /// # Errors
    ///
    /// As for [`SaveApi::save`].
    pub async fn save_with<R>(
        &self,
        key: &F::Key,
        context: &Context,
        operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_all(key, context, std::slice::from_ref(&operation)).await
    }

    /// Saves what all `operations` decide, in one commit or not at all. Each decides on the value that those before it
    /// would leave behind; the first that rejects rejects the batch.
    ///
    /// # Errors
    ///
    /// As for [`SaveApi::save_all`].
    pub async fn save_all<R>(
        &self,
        key: &F::Key,
        context: &Context,
        operations: &[Operation<St::Payload, R, SnapshotOf<St, F>>],
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        let stream = self.query.stream_of(key);
        let knowledge = Folded { decider: self, key };
        SaveLoop { writer: &self.saves.writer, key: &stream, context, operations, knowledge: &knowledge }
            .run()
            .await
    }

    /// The query that decisions are made on.
    pub fn query(&self) -> &QueryApi<St, F, Sn> {
        &self.query
    }
}

/// Knowledge of a folded value.
struct Folded<'a, St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    decider: &'a Decider<St, F, Sn>,
    key: &'a F::Key,
}

impl<St, F, Sn> Knowledge<St> for Folded<'_, St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash, Value: Clone>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    type Known = SnapshotOf<St, F>;

    fn nothing(&self) -> Self::Known {
        Snapshot::initial(None)
    }

    fn remembered(&self) -> Option<Basis<Self::Known>> {
        let known = self.decider.values.get(self.key)?;
        Some(Basis { time: known.time(), known, fresh: false })
    }

    /// A sequence does not say what was folded.
    fn named(&self, _: St::Sequence) -> Option<Basis<Self::Known>> {
        None
    }

    async fn read(&self, known: Self::Known) -> Result<Basis<Self::Known>, StorageError> {
        let known = if known.head.is_some() {
            self.decider.query.fold_from(self.key, known, Until::Latest).await?
        } else {
            self.decider.query.snapshot(self.key, Consistency::LatestEvent).await?
        };
        Ok(Basis { time: known.time(), known, fresh: true })
    }

    fn then(&self, known: Self::Known, commit: &CommitOf<St>) -> Self::Known {
        let mut folding = Folding::new(self.decider.query.fold(), self.key, known);
        folding.commit(commit);
        folding.into_snapshot()
    }

    fn remember(&self, known: Self::Known, _: Option<Timestamp>) {
        self.decider.values.insert(self.key.clone(), known);
    }

    fn forget(&self) {
        self.decider.values.remove(self.key);
    }
}
