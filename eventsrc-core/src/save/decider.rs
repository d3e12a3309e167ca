//! Saves that are decided on a folded value.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::api::SaveApi;
use super::batch::Batch;
use super::group::Group;
use super::knowledge::{Basis, Knowledge};
use super::operation::Operation;
use super::outcome::{Outcome, SaveError};
use super::save_loop::SaveLoop;
use super::settings::Context;
use crate::commit::{CommitId, Head};
use crate::query::api::{KeyOf, SnapshotOf, ValueOf};
use crate::query::fold::Folding;
use crate::query::{Consistency, Fold, Query, QueryApi};
use crate::snapshot::{NoSnapshots, Snapshot, SnapshotStorage};
use crate::storage::{CommitOf, EventStorage, StorageError};
use crate::stream::Sequence;

/// Saves the events that operations decide on, given a folded value, and caches the values.
///
/// A save starts from the value that the last save of the key left in the cache, so it is one request if no other
/// process appended in between. After a conflict, the value is brought up to date with the conflicting commit, or with
/// the missed events from the storage. A value is never copied, so it may be large: one value for a whole directory of
/// names costs a save no more than one for a single name.
///
/// The cache holds up to [`SaveSettings::remembered`](super::SaveSettings::remembered) values.
pub struct Decider<St, F, Sn = NoSnapshots<KeyOf<St, F>, <St as EventStorage>::Sequence, ValueOf<St, F>>>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    saves: Arc<SaveApi<St>>,
    query: QueryApi<St, F, Sn>,
    values: Cache<F::Key, Arc<Remembered<St, F>>>,
}

/// Folded value that the last save left.
struct Remembered<St, F>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    value: SnapshotOf<St, F>,
    /// Number of the sequence at which a snapshot of the value was last stored or due.
    stored_at: u64,
}

impl<St, F> Decider<St, F>
where
    St: EventStorage + Clone,
    F: Fold<St::Key, St::Sequence, St::Payload, Key = St::Key>,
{
    /// Creates a decider that decides on the values of `fold`, without snapshots, and saves to `storage`.
    pub fn new(storage: St, fold: F) -> Self {
        Self::with(Arc::new(SaveApi::new(storage)), |storage| QueryApi::new(storage, fold))
    }
}

impl<St, F, Sn> Decider<St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    /// Creates a decider that saves with `saves`, and decides on the answers of the query that `query` creates for the
    /// same storage.
    pub fn with(saves: Arc<SaveApi<St>>, query: impl FnOnce(St) -> QueryApi<St, F, Sn>) -> Self
    where
        St: Clone,
    {
        let values = Cache::new(saves.writer.settings.remembered);
        let query = query(saves.storage().clone());
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

    /// Saves like [`save`](Decider::save), with a commit id, a token, a time limit and metadata from `context`.
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
        let (writer, stream) = (&self.saves.writer, self.query.stream_of(key));
        let knowledge = &Folded::new(self, key);
        SaveLoop { writer, key: &stream, context, decide: &operation, knowledge }.run().await
    }

    /// Saves the events of all `operations` in one commit, or none of them. Each operation decides on the value that
    /// includes the events of those before it, so the value is copied. The first operation that rejects, rejects the whole
    /// batch.
    ///
    /// # Errors
    ///
    /// Same as for [`SaveApi::save_all`].
    pub async fn save_all<R>(
        &self,
        key: &F::Key,
        context: &Context,
        operations: &[Operation<St::Payload, R, SnapshotOf<St, F>>],
    ) -> Result<Outcome<R, St::Sequence>, SaveError>
    where
        F::Value: Clone,
    {
        let (writer, stream) = (&self.saves.writer, self.query.stream_of(key));
        let knowledge = &Folded::new(self, key);
        let decide = &Batch { operations, knowledge };
        SaveLoop { writer, key: &stream, context, decide, knowledge }.run().await
    }

    /// Saves the events of those `operations` that save in one commit, and answers each of them. Each decides on the value
    /// that includes the events of those before it.
    ///
    /// If this commit cannot be stored, because of one of the events or of its size, it is saved in two halves, so that an
    /// operation fails only for itself.
    pub(super) async fn save_group<R: Send + Sync>(
        &self,
        key: &F::Key,
        operations: &[Operation<St::Payload, R, SnapshotOf<St, F>>],
    ) -> Vec<Result<Outcome<R, St::Sequence>, SaveError>>
    where
        F::Value: Clone,
    {
        let (mut answers, mut waiting) = (Vec::with_capacity(operations.len()), vec![operations]);
        while let Some(operations) = waiting.pop() {
            let (writer, stream) = (&self.saves.writer, self.query.stream_of(key));
            let knowledge = &Folded::new(self, key);
            let group = Group::new(operations, knowledge);
            let context = &Context::default();
            let saved = SaveLoop { writer, key: &stream, context, decide: &group, knowledge }.run().await;
            match &saved {
                Err(error) if operations.len() > 1 && error.is_refused() => {
                    let (before, after) = operations.split_at(operations.len() / 2);
                    waiting.extend([after, before]);
                }
                _ => answers.extend(group.answers(saved)),
            }
        }
        answers
    }

    /// Largest number of operations of a key that may wait.
    pub(super) fn limit(&self) -> usize {
        self.saves.writer.settings.waiting
    }

    pub(super) fn new_id(&self) -> CommitId {
        self.saves.writer.new_id()
    }

    /// Reads the latest value of `key`, in place. It costs the events since the last save or read of this decider, and
    /// waits for its saves of the stream.
    ///
    /// # Errors
    ///
    /// [`StorageError`] of reading the events; `Overloaded` if too many saves of the stream wait.
    pub async fn read<T>(
        &self,
        key: &F::Key,
        read: impl FnOnce(&SnapshotOf<St, F>) -> T,
    ) -> Result<T, StorageError> {
        let (writer, stream) = (&self.saves.writer, self.query.stream_of(key));
        writer.read(&stream, &Folded::new(self, key), read).await
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
    /// As in [`Remembered`].
    stored_at: AtomicU64,
}

impl<'a, St, F, Sn> Folded<'a, St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    fn new(decider: &'a Decider<St, F, Sn>, key: &'a F::Key) -> Self {
        Self { decider, key, stored_at: AtomicU64::new(0) }
    }
}

impl<St, F, Sn> Knowledge<St> for Folded<'_, St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    type Known = SnapshotOf<St, F>;

    fn remembered(&self, _: Option<&Head<St::Sequence>>) -> Basis<Self::Known> {
        let taken = self.decider.values.remove(self.key).and_then(|(_, taken)| Arc::into_inner(taken));
        match taken {
            Some(Remembered { value, stored_at }) => {
                self.stored_at.store(stored_at, Ordering::Relaxed);
                let head = value.head;
                Basis::remembered(value, head.as_ref())
            }
            None => Basis::nothing(Snapshot::initial(None)),
        }
    }

    fn give_back(&self, basis: Basis<Self::Known>) {
        let stored_at = self.stored_at.load(Ordering::Relaxed);
        let stored_at = self.decider.query.store_if_due(self.key, stored_at, &basis.known);
        self.decider.values.insert(self.key.clone(), Arc::new(Remembered { value: basis.known, stored_at }));
    }

    /// Always `None`: a sequence does not determine the folded value.
    fn at(&self, _: St::Sequence, _: Option<CommitId>) -> Option<Basis<Self::Known>> {
        None
    }

    async fn read(&self, basis: &mut Basis<Self::Known>) -> Result<(), StorageError> {
        if basis.is_nothing {
            basis.known = self.decider.query.snapshot(self.key, Consistency::LatestEvent).await?;
            let number = basis.known.sequence().map_or(0, Sequence::number);
            self.stored_at.store(number, Ordering::Relaxed);
        } else {
            self.decider.query.advance(self.key, &mut basis.known).await?;
        }
        let head = basis.known.head;
        basis.was_read(head.as_ref());
        Ok(())
    }

    fn advance(&self, known: &mut Self::Known, commit: &CommitOf<St>) {
        let value = std::mem::replace(known, Snapshot::initial(None));
        let mut folding = Folding::new(self.decider.query.fold_function(), self.key, value);
        folding.commit(commit);
        *known = folding.into_snapshot();
    }
}
