//! Saves of many callers in few commits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use vec1::Vec1;

use super::decider::Decider;
use super::operation::Operation;
use super::outcome::{Outcome, SaveError};
use crate::query::Fold;
use crate::query::api::{KeyOf, SnapshotOf, ValueOf};
use crate::snapshot::{NoSnapshots, SnapshotStorage};
use crate::storage::{ErrorKind, EventStorage, StorageError};

/// Saves the operations of many callers in few commits. Operations that arrive while a commit of their stream is being put
/// are saved together in the next one, and each caller gets its own answer.
///
/// It serves a stream with many small commands, whose rate would otherwise be limited by the time of one put. The
/// operations decide one after the other, each on the effect of those before it. One that rejects, that has nothing to do,
/// or whose events cannot be stored, does not affect the others. All events that are saved together are in one commit, and so have one time and one
/// commit id; an operation that needs a commit id or metadata of its own goes to the [`Decider`] directly.
///
/// A save goes on if its caller stops waiting. The value is copied once for each commit of several operations.
///
/// After the batching gate of Equinox.
pub struct SaveGate<St, F, R, Sn = NoSnapshots<KeyOf<St, F>, <St as EventStorage>::Sequence, ValueOf<St, F>>>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    shared: Arc<Shared<St, F, R, Sn>>,
}

struct Shared<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    decider: Arc<Decider<St, F, Sn>>,
    /// Operations that wait, by key. A key is present while a task saves its operations.
    waiting: Mutex<HashMap<F::Key, Vec<Waiting<St, F, R>>>>,
}

/// An operation, and the channel to its caller.
struct Waiting<St: EventStorage, F: Fold<St::Key, St::Sequence, St::Payload>, R> {
    operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    reply: oneshot::Sender<Result<Outcome<R, St::Sequence>, SaveError>>,
}

impl<St, F, R, Sn> SaveGate<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash + 'static, Value: Clone + 'static>,
    R: Clone + Send + Sync + 'static,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    /// Creates a gate that saves with `decider`.
    pub fn new(decider: Arc<Decider<St, F, Sn>>) -> Self {
        Self { shared: Arc::new(Shared { decider, waiting: Mutex::default() }) }
    }

    /// Saves the events that `operation` decides on, perhaps in one commit with those of other callers. Must be called in
    /// a tokio runtime.
    ///
    /// # Errors
    ///
    /// Same as for [`Decider::save`]; `Overloaded`, at once, if as many operations of the key wait as
    /// [`SaveSettings::waiting`](super::SaveSettings::waiting) allows.
    pub async fn save(
        &self,
        key: &F::Key,
        operation: Operation<St::Payload, R, SnapshotOf<St, F>>,
    ) -> Result<Outcome<R, St::Sequence>, SaveError> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { operation, reply };
        match self.shared.waiting().entry(key.clone()) {
            Entry::Occupied(mut others) if others.get().len() < self.shared.decider.limit() => {
                others.get_mut().push(waiting);
            }
            Entry::Occupied(_) => {
                return Err(self.shared.failure(ErrorKind::Overloaded, "too many operations wait"));
            }
            Entry::Vacant(none) => {
                none.insert(vec![waiting]);
                tokio::spawn(Arc::clone(&self.shared).run(key.clone()));
            }
        }
        answer.await.unwrap_or_else(|_| {
            Err(self.shared.failure(ErrorKind::Unavailable, "the task that saves the operations has stopped"))
        })
    }
}

impl<St, F, R, Sn> Shared<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + Eq + Hash + 'static, Value: Clone + 'static>,
    R: Clone + Send + Sync + 'static,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    /// Saves the operations of `key`, group after group, until none waits.
    async fn run(self: Arc<Self>, key: F::Key) {
        let mut running = Running { shared: Arc::clone(&self), key: Some(key.clone()) };
        while let Some(group) = self.next_group(&key) {
            let (operations, replies): (Vec<_>, Vec<_>) =
                group.into_iter().map(|waiting| (waiting.operation, waiting.reply)).unzip();
            let answers = self.decider.save_group(&key, &operations).await;
            for (reply, answer) in replies.into_iter().zip(answers) {
                // A caller may have stopped waiting.
                drop(reply.send(answer));
            }
        }
        running.key = None;
    }

    /// Takes the operations that wait. Removes the key and returns `None` if there are none.
    fn next_group(&self, key: &F::Key) -> Option<Vec1<Waiting<St, F, R>>> {
        let mut waiting = self.waiting();
        let group = waiting.get_mut(key).map(std::mem::take)?;
        let group = Vec1::try_from_vec(group).ok();
        if group.is_none() {
            waiting.remove(key);
        }
        group
    }

    fn failure(&self, kind: ErrorKind, what: &str) -> SaveError {
        let unknown = !kind.stores_nothing();
        SaveError {
            commit_id: self.decider.new_id(),
            retries: 0,
            unknown,
            source: StorageError::new(kind, what),
        }
    }
}

impl<St, F, R, Sn> Shared<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    fn waiting(&self) -> MutexGuard<'_, HashMap<F::Key, Vec<Waiting<St, F, R>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Task that saves the operations of a key. If it panics, the operations that wait fail, and the next one starts another.
struct Running<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Eq + Hash>,
{
    shared: Arc<Shared<St, F, R, Sn>>,
    /// `None` once no operation waits.
    key: Option<F::Key>,
}

impl<St, F, R, Sn> Drop for Running<St, F, R, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload, Key: Eq + Hash>,
{
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let left = self.shared.waiting().remove(key);
            drop(left);
        }
    }
}
