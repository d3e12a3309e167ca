//! Reference implementation of a snapshot storage, in memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

use super::contract::{Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
use crate::commit::Head;
use crate::storage::StorageError;
use crate::stream::Sequence;

/// Snapshot storage in memory: the reference implementation. The snapshots are lost when it is dropped.
pub struct MemorySnapshots<K, S, V> {
    snapshots: RwLock<HashMap<(K, u32), KeySnapshots<S, V>>>,
}

/// Snapshots of one key, made by one version of a fold.
struct KeySnapshots<S, V> {
    epochs: BTreeMap<S, Snapshot<S, V>>,
    cached: Option<Snapshot<S, V>>,
}

impl<K, S, V> SnapshotStorage for MemorySnapshots<K, S, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    S: Sequence,
    V: Clone + Send + Sync + 'static,
{
    type Key = K;
    type Sequence = S;
    type Value = V;

    async fn get(
        &self,
        key: &K,
        version: u32,
        which: SnapshotAt<S>,
    ) -> Result<Option<Snapshot<S, V>>, StorageError> {
        let snapshots = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        let Some(of_key) = snapshots.get(&(key.clone(), version)) else { return Ok(None) };
        let all = of_key.epochs.values().chain(&of_key.cached);
        Ok(match which {
            SnapshotAt::Earliest => all.min_by_key(|snapshot| snapshot.sequence()),
            SnapshotAt::Latest => all.max_by_key(|snapshot| snapshot.sequence()),
            SnapshotAt::Before(limit) => all
                .filter(|snapshot| snapshot.sequence() < Some(limit))
                .max_by_key(|snapshot| snapshot.sequence()),
        }
        .cloned())
    }

    async fn put(
        &self,
        key: &K,
        version: u32,
        snapshot: &Snapshot<S, V>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        let Some(Head { sequence, .. }) = snapshot.to_keep() else { return Ok(()) };
        let mut snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let of_key = snapshots
            .entry((key.clone(), version))
            .or_insert_with(|| KeySnapshots { epochs: BTreeMap::new(), cached: None });
        match mode {
            SnapshotMode::Epoch => {
                of_key.epochs.insert(sequence, snapshot.clone());
            }
            SnapshotMode::Cache if of_key.cached.as_ref().is_none_or(|c| c.sequence() <= Some(sequence)) => {
                of_key.cached = Some(snapshot.clone());
            }
            SnapshotMode::Cache => {}
        }
        Ok(())
    }
}

impl<K, S, V> Default for MemorySnapshots<K, S, V> {
    fn default() -> Self {
        Self { snapshots: RwLock::default() }
    }
}

impl<K, S, V> fmt::Debug for MemorySnapshots<K, S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySnapshots").finish_non_exhaustive()
    }
}
