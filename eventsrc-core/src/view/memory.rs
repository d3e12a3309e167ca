//! The reference implementation of a view store, in memory. Other stores must behave as this one does.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::batch::{Batch, PositionChange};
use super::contract::{
    Applied, BatchOf, QuarantinedCommit, SkippedCommits, StreamPosition, ViewError, ViewStore,
    error_from_panic, outside_cause,
};
use super::definition::ViewDefinition;
use crate::commit::{Event, Payload};
use crate::storage::StorageError;
use crate::stream::{Sequence, StreamKey, StreamName};

/// Stores a view in memory: rows of type `T`, which a function builds from events. Dropping it drops the rows.
///
/// A transaction copies the rows, and replaces them by the changed copy at its end. Therefore cloning `T` should be
/// cheap. One lock guards rows and positions, so the view can be used from several threads.
pub struct MemoryView<K, S, E, T> {
    definition: ViewDefinition,
    apply: Box<Apply<K, S, E, T>>,
    state: Mutex<State<S, T>>,
}

type Apply<K, S, E, T> = dyn Fn(&mut T, Event<'_, K, S, E>) -> Result<(), ViewError> + Send + Sync;

struct State<S, T> {
    rows: T,
    positions: BTreeMap<StreamName, S>,
    quarantined: BTreeMap<StreamName, QuarantinedCommit<S>>,
    skipped: Vec<SkippedCommits<S>>,
}

impl<K: StreamKey, S: Sequence, E, T: Default> MemoryView<K, S, E, T> {
    /// Creates an empty view. `apply` applies one event to the rows.
    pub fn new(
        definition: ViewDefinition,
        apply: impl Fn(&mut T, Event<'_, K, S, E>) -> Result<(), ViewError> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            rows: T::default(),
            positions: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            skipped: Vec::new(),
        };
        Self { definition, apply: Box::new(apply), state: Mutex::new(state) }
    }
}

impl<K, S: Sequence, E, T> MemoryView<K, S, E, T> {
    /// Runs `query` on the rows. Returns its result, and the positions of `streams` in the same snapshot.
    pub fn read<A>(
        &self,
        streams: &[StreamName],
        query: impl FnOnce(&T) -> A,
    ) -> (Vec<StreamPosition<S>>, A) {
        let state = self.state();
        (streams.iter().map(|stream| state.position_of(stream)).collect(), query(&state.rows))
    }

    fn state(&self) -> MutexGuard<'_, State<S, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, S, E, T> ViewStore for MemoryView<K, S, E, T>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    T: Clone + Send + 'static,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    fn definition(&self) -> &ViewDefinition {
        &self.definition
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        let mut state = self.state();
        if let Some(applied) = state.outcome_without_applying(batch) {
            return Ok(applied);
        }
        let mut rows = state.rows.clone();
        let apply = || batch.events().try_for_each(|event| (self.apply)(&mut rows, event));
        match catch_unwind(AssertUnwindSafe(apply)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let Some(kind) = outside_cause(&*error) else { return Ok(Applied::Rejected(error)) };
                let what = format!("cannot apply the view {}: its code failed", self.definition);
                return Err(StorageError::new(kind, what).because(error));
            }
            Err(panic) => return Ok(Applied::Rejected(error_from_panic(&*panic))),
        }
        state.rows = rows;
        for change in batch.position_changes() {
            state.positions.insert(change.stream.clone(), change.to);
        }
        Ok(Applied::Done)
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError> {
        Ok(self.read(streams, |_| ()).0)
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, S)>, StorageError> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let named = state.positions.range::<StreamName, _>((after, Bound::Unbounded));
        Ok(named.take(limit).map(|(name, position)| (name.clone(), *position)).collect())
    }

    async fn quarantine(&self, entry: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        let mut state = self.state();
        if state.positions.get(&entry.stream).copied() == entry.position {
            state.quarantined.entry(entry.stream.clone()).or_insert_with(|| entry.clone());
        }
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        Ok(self.state().quarantined.values().cloned().collect())
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        Ok(self.state().quarantined.remove(stream).is_some())
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let mut state = self.state();
        let change = &skip.change;
        if state.positions.get(&change.stream).copied() != change.from {
            return Ok(false);
        }
        state.positions.insert(change.stream.clone(), change.to);
        state.quarantined.remove(&change.stream);
        state.skipped.push(skip.clone());
        state.skipped.sort_by(|a, b| (&a.change.stream, a.change.to).cmp(&(&b.change.stream, b.change.to)));
        Ok(true)
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        Ok(self.state().skipped.clone())
    }
}

impl<S: Sequence, T> State<S, T> {
    fn position_of(&self, stream: &StreamName) -> StreamPosition<S> {
        StreamPosition {
            position: self.positions.get(stream).copied(),
            quarantined: self.quarantined.contains_key(stream),
        }
    }

    /// Returns the outcome of a batch that cannot be applied, whatever the view's code does; `None` if it can be.
    fn outcome_without_applying<K, E>(&self, batch: &Batch<K, S, E>) -> Option<Applied> {
        let differs = |change: &PositionChange<S>| self.position_of(&change.stream).position != change.from;
        let quarantined = |change: &PositionChange<S>| self.quarantined.contains_key(&change.stream);
        if batch.position_changes().iter().any(differs) {
            return Some(Applied::PositionDiffers);
        }
        batch.position_changes().iter().any(quarantined).then_some(Applied::Quarantined)
    }
}

impl<K, S, E, T> fmt::Debug for MemoryView<K, S, E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryView").field("definition", &self.definition).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use vec1::Vec1;

    use super::*;
    use crate::commit::{Commit, CommitId, Metadata};
    use crate::storage::ErrorKind;
    use crate::view::CommitRun;

    /// A view whose code fails with an error of this kind.
    async fn failing(kind: ErrorKind) -> Result<Applied, StorageError> {
        let definition = ViewDefinition::new("totals", ["account"]).unwrap();
        let view: MemoryView<StreamName, u64, (), ()> = MemoryView::new(definition, move |(), _| {
            Err(std::io::Error::other(StorageError::new(kind, "no rates")).into())
        });
        let key: StreamName = "account/1".parse().unwrap();
        let commit = Commit {
            key: key.clone(),
            first: 1,
            previous: None,
            time: Timestamp::UNIX_EPOCH,
            metadata: Metadata::new(CommitId(uuid::Uuid::nil())),
            payloads: Vec1::new(()).into(),
        };
        let run = CommitRun { stream: key, from: None, commits: vec![Arc::new(commit)] };
        view.apply(&Batch::new(vec![run])).await
    }

    #[tokio::test]
    async fn a_failure_of_another_storage_is_no_rejection() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Overloaded, ErrorKind::Refused] {
            assert_eq!(failing(kind).await.unwrap_err().kind(), kind);
        }
        for kind in [ErrorKind::Invalid, ErrorKind::Corrupt] {
            assert!(matches!(failing(kind).await, Ok(Applied::Rejected(_))), "{kind:?}");
        }
    }
}
