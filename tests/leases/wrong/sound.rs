//! The correct parts of a wrong store.

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, MemoryLeases, NewLease, Renewal};
use futures::FutureExt;

use super::{Answer, Wrong, locked};
use crate::leases::{moved, unmoved};

/// The reference of a handle, and its leases when the call began.
pub(crate) struct Sound<'a> {
    handle: &'a Wrong,
    seen: Vec<Lease>,
}

impl<'a> Sound<'a> {
    pub(super) fn new(handle: &'a Wrong) -> Self {
        let seen = at_once(handle.shared.leases.leases()).expect("memory does not fail");
        Self { handle, seen }
    }

    fn leases(&self) -> &MemoryLeases {
        &self.handle.shared.leases
    }

    /// All leases.
    pub(crate) fn all(&self) -> Vec<Lease> {
        at_once(self.leases().leases()).expect("memory does not fail")
    }

    /// The leases that existed when the call began.
    pub(crate) fn seen(&self) -> &[Lease] {
        &self.seen
    }

    /// The leases that the handle found at its first look since its last write.
    pub(crate) fn known(&self) -> Vec<Lease> {
        locked(&self.handle.known).get_or_insert_with(|| self.seen.clone()).clone()
    }

    /// True if this was not noted before through any handle.
    pub(crate) fn notes(&self, what: String) -> bool {
        locked(&self.handle.shared.noted).insert(what)
    }

    pub(crate) fn is_there(&self, shard: &str) -> bool {
        self.all().iter().any(|lease| lease.shard == shard)
    }

    pub(crate) fn was_there(&self, shard: &str) -> bool {
        self.seen.iter().any(|lease| lease.shard == shard)
    }

    /// The lease as it is now, or `lease` if it does not exist.
    pub(crate) fn now(&self, lease: &Lease) -> Lease {
        self.all().into_iter().find(|now| now.shard == lease.shard).unwrap_or_else(|| lease.clone())
    }

    /// The lease as it was when the call began, or `lease` if it did not exist.
    pub(crate) fn before(&self, lease: &Lease) -> Lease {
        self.seen.iter().find(|seen| seen.shard == lease.shard).unwrap_or(lease).clone()
    }

    pub(crate) fn create(&self, leases: &[NewLease]) -> Answer<()> {
        at_once(self.leases().create(leases))
    }

    pub(crate) fn take(&self, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
        at_once(self.leases().take(lease, worker))
    }

    /// Takes the lease, ignoring the observed state.
    pub(crate) fn take_as_it_is(&self, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
        self.take(&self.now(lease), worker)
    }

    pub(crate) fn claim(&self, lease: &Lease, worker: &str) -> Answer<bool> {
        at_once(self.leases().claim(lease, worker))
    }

    pub(crate) fn renew(&self, worker: &str, held: &[Renewal]) -> Answer<Vec<Option<Lease>>> {
        at_once(self.leases().renew(worker, held))
    }

    pub(crate) fn renew_one(&self, worker: &str, renewal: &Renewal) -> Answer<Option<Lease>> {
        Ok(self.renew(worker, std::slice::from_ref(renewal))?.pop().flatten())
    }

    /// Renews the lease, ignoring its owner.
    pub(crate) fn renew_as_it_is(&self, renewal: &Renewal) -> Answer<Option<Lease>> {
        let lease = self.now(&renewal.lease);
        let owner = lease.owner.clone().unwrap_or_default();
        self.renew_one(&owner, &Renewal { lease, checkpoint: renewal.checkpoint.clone() })
    }

    pub(crate) fn release(&self, worker: &str, lease: &Renewal) -> Answer<bool> {
        at_once(self.leases().release(worker, lease))
    }

    pub(crate) fn remove(&self, shards: &[String]) -> Answer<()> {
        at_once(self.leases().remove(shards))
    }

    /// Removes the lease without a trace.
    pub(crate) fn forget(&self, lease: &Lease) -> Answer<()> {
        if let Some(taken) = self.take_as_it_is(lease, "nobody")? {
            self.release("nobody", &moved(&taken, Checkpoint::End))?;
        }
        self.remove(std::slice::from_ref(&lease.shard))
    }

    /// Removes the lease and creates it again.
    pub(crate) fn begin_anew(&self, lease: &Lease, checkpoint: Checkpoint) -> Answer<()> {
        self.forget(lease)?;
        self.create(&[NewLease { shard: lease.shard.clone(), parents: lease.parents.clone(), checkpoint }])
    }

    /// Removes the claim of the lease; its owner takes it again.
    pub(crate) fn forget_heir(&self, lease: &Lease) -> Answer<()> {
        let now = self.now(lease);
        if let (Some(owner), Some(_)) = (&now.owner, &now.next_owner) {
            self.take(&now, owner)?;
        }
        Ok(())
    }

    /// Releases the lease, and again if it went to a next owner.
    pub(crate) fn release_to_nobody(&self, worker: &str, renewal: &Renewal) -> Answer<bool> {
        let released = self.release(worker, renewal)?;
        let now = self.now(&renewal.lease);
        if let (true, Some(next_owner)) = (released, &now.owner) {
            self.release(next_owner, &unmoved(&now))?;
        }
        Ok(released)
    }
}

/// True if no other worker took the lease over since `worker` got it as `lease`.
pub(crate) fn is_held(now: &Lease, worker: &str, lease: &Lease) -> bool {
    now.owner.as_deref() == Some(worker) && now.counter == lease.counter
}

/// The reference never waits.
fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("memory answers at once")
}
