//! The reference implementation of a lease store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::contract::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use crate::storage::StorageError;

/// Stores leases in memory, for workers of one process. Cheap to clone; all clones share the leases.
#[derive(Debug, Clone, Default)]
pub struct MemoryLeases(Arc<Mutex<BTreeMap<String, Lease>>>);

impl LeaseStore for MemoryLeases {
    async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        Ok(self.locked().values().cloned().collect())
    }

    async fn create(&self, leases: &[NewLease]) -> Result<(), StorageError> {
        let mut all = self.locked();
        for NewLease { shard, parents, checkpoint } in leases {
            all.entry(shard.clone()).or_insert_with(|| Lease {
                shard: shard.clone(),
                parents: parents.clone(),
                owner: None,
                next_owner: None,
                counter: 0,
                heartbeat: 0,
                checkpoint: checkpoint.clone(),
            });
        }
        Ok(())
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        let mut all = self.locked();
        let Some(now) = all.get_mut(&lease.shard).filter(|now| !now.has_ended()) else { return Ok(None) };
        let taken = Lease {
            owner: Some(worker.to_owned()),
            next_owner: None,
            counter: lease.counter + 1,
            checkpoint: now.checkpoint.clone(),
            ..lease.clone()
        };
        if now == lease {
            *now = taken.clone();
        }
        Ok((*now == taken).then_some(taken))
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        let mut all = self.locked();
        let Some(now) = all.get_mut(&lease.shard) else { return Ok(false) };
        if now.owner.is_none() || now.owner != lease.owner {
            return Ok(false);
        }
        Ok(now.next_owner.get_or_insert_with(|| worker.to_owned()) == worker)
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        let mut all = self.locked();
        let renewed = held.iter().map(|Renewal { lease, checkpoint }| {
            let now = all.get_mut(&lease.shard)?;
            if !is_held(now, worker, lease) {
                // An earlier attempt of this renewal may have stored the end already.
                return (now.has_ended() && *checkpoint == Some(Checkpoint::End)).then(|| now.clone());
            }
            now.heartbeat += 1;
            now.checkpoint = checkpoint.as_ref().unwrap_or(&now.checkpoint).clone();
            if now.has_ended() {
                hand_over(now);
            }
            Some(now.clone())
        });
        Ok(renewed.collect())
    }

    async fn release(
        &self,
        worker: &str,
        Renewal { lease, checkpoint }: &Renewal,
    ) -> Result<bool, StorageError> {
        let mut all = self.locked();
        let Some(now) = all.get_mut(&lease.shard).filter(|now| is_held(now, worker, lease)) else {
            return Ok(false);
        };
        now.checkpoint = checkpoint.as_ref().unwrap_or(&now.checkpoint).clone();
        hand_over(now);
        Ok(true)
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        self.locked().retain(|shard, lease| !(lease.has_ended() && shards.contains(shard)));
        Ok(())
    }
}

impl MemoryLeases {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if no other worker took the lease over since `worker` received it as `lease`.
fn is_held(now: &Lease, worker: &str, lease: &Lease) -> bool {
    now.owner.as_deref() == Some(worker) && now.counter == lease.counter
}

/// Makes the next owner the owner, if there is one and the shard has not ended.
fn hand_over(now: &mut Lease) {
    let next_owner = now.next_owner.take();
    now.owner = if now.has_ended() { None } else { next_owner };
    now.counter += 1;
}
