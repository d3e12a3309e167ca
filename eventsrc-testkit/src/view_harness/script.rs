//! A feed that delivers given commits, and repeats deliveries that were not acknowledged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use eventsrc_core::commit::Payload;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery};
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey};

/// Deliveries, and which of them were acknowledged. Processes that run one after the other share a script.
pub(super) struct Script<K, S, E> {
    deliveries: Vec<Vec<Arc<Commit<K, S, E>>>>,
    acknowledged: Mutex<BTreeSet<usize>>,
}

impl<K, S, E> Script<K, S, E> {
    /// Delivers `commits` in groups of `changes_per_delivery`.
    pub(super) fn new(commits: &[Arc<Commit<K, S, E>>], changes_per_delivery: usize) -> Arc<Self> {
        let deliveries = commits.chunks(changes_per_delivery).map(<[_]>::to_vec).collect();
        Arc::new(Self { deliveries, acknowledged: Mutex::default() })
    }

    /// Returns a feed of all deliveries that are not acknowledged.
    pub(super) fn feed(self: &Arc<Self>) -> ScriptFeed<K, S, E> {
        ScriptFeed { script: Arc::clone(self), next: 0 }
    }

    fn acknowledged(&self) -> std::sync::MutexGuard<'_, BTreeSet<usize>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct ScriptFeed<K, S, E> {
    script: Arc<Script<K, S, E>>,
    next: usize,
}

impl<K, S, E> ChangeFeed for ScriptFeed<K, S, E>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn next(&mut self) -> Result<Option<Delivery<K, S, E>>, StorageError> {
        while self.script.acknowledged().contains(&self.next) {
            self.next += 1;
        }
        let Some(commits) = self.script.deliveries.get(self.next) else { return Ok(None) };
        let changes = commits.iter().map(|commit| Change::Commit(Arc::clone(commit))).collect();
        let (script, delivery) = (Arc::clone(&self.script), self.next);
        self.next += 1;
        let acknowledgement = Acknowledgement::new(move || {
            script.acknowledged().insert(delivery);
        });
        Ok(Some(Delivery { changes, acknowledgement }))
    }
}
