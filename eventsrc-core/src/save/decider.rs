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

/// Saves the events that operations decide on, given a folded value, and caches the values.
///
/// A save starts from the value that the last save of the key left in the cache, so it is one request if no other
/// writer appended in between. After a conflict, the value is brought up to date with the conflicting commit, or with
/// the missed events from the storage.
///
/// The cache holds up to [`SaveSettings::remembered`](super::SaveSettings::remembered) values.
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
    /// Creates a decider that decides on the answers of `query` and saves with `saves`. Both must use the same storage.
    pub fn new(saves: Arc<SaveApi<St>>, query: Arc<QueryApi<St, F, Sn>>) -> Self {
        let values = Cache::new(saves.writer.settings.remembered);
        Self { saves, query, values }
    }

    /// Saves the events that `operation` decides on, given the folded value of `key`.
    ///
    /// # Errors
    ///
    /// Same as for [`SaveApi::save`].
    pub async fn save<R>(
        &self,
        key: &F::Key,
        operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_with(key, &Context::default(), operation).await
    }

    /// Saves like [`save`](Decider::save), with a commit id, a token and metadata from `context`.
    ///
    /// # Errors
    ///
    /// Same as for [`SaveApi::save`].
    pub async fn save_with<R>(
        &self,
        key: &F::Key,
        context: &Context,
        operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        self.save_all(key, context, std::slice::from_ref(&operation)).await
    }

    /// Saves the events of all `operations` in one commit, or none of them. Each operation decides on the value that
    /// includes the events of those before it. The first operation that rejects, rejects the whole batch.
    ///
    /// # Errors
    ///
    /// Same as for [`SaveApi::save_all`].
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

    /// Returns the query whose answers the operations decide on.
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

    fn initial(&self) -> Self::Known {
        Snapshot::initial(None)
    }

    fn cached(&self) -> Option<Basis<Self::Known>> {
        let known = self.decider.values.get(self.key)?;
        Some(Basis { time: known.time(), known, fresh: false })
    }

    /// Always `None`: a sequence does not determine the folded value.
    fn basis_at(&self, _: St::Sequence) -> Option<Basis<Self::Known>> {
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

    fn after(&self, known: Self::Known, commit: &CommitOf<St>) -> Self::Known {
        let mut folding = Folding::new(self.decider.query.fold(), self.key, known);
        folding.commit(commit);
        folding.into_snapshot()
    }

    fn cache(&self, known: Self::Known, _: Option<Timestamp>) {
        self.decider.values.insert(self.key.clone(), known);
    }

    fn evict(&self) {
        self.decider.values.remove(self.key);
    }
}
