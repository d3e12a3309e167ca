//! The contract of a lease store.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::storage::StorageError;

/// Stores the leases of one group of workers on the shards of one bus. A new database for leases implements this trait.
///
/// A lease names the worker that reads a shard, and the checkpoint up to which the shard is processed. Leases and
/// checkpoints only save work; correctness never depends on them. If two workers read one shard at the same time, a
/// view still applies each commit once, because it compares positions. If a checkpoint is lost, records are read again.
///
/// The store keeps no time. An observer decides that an owner is dead if the owner's [`heartbeat`](Lease::heartbeat)
/// does not change for a while on the observer's own clock, as [`LeaseWatch`](crate::lease::LeaseWatch) does. Therefore
/// clocks need not agree. [`LeasePlan`](crate::lease::LeasePlan) decides what a worker does next. The name of a worker
/// must be unique, also among all earlier workers.
///
/// The suite in `eventsrc-testkit` checks the contract sentence by sentence.
/// [`MemoryLeases`](crate::lease::MemoryLeases) is the reference.
///
/// # Contract
///
/// - A shard has at most one lease, and `create` does not change leases that exist.
/// - `leases` returns every lease once, sorted by shard.
/// - `take` makes the worker the owner if the lease has not changed since it was read; of concurrent takes, exactly one
///   succeeds.
/// - A lease that was taken, claimed, renewed or released since it was read is not taken.
/// - A taken lease has a new `counter`, no next owner, and its previous checkpoint.
/// - A take that is repeated after a lost reply returns the lease if the lease has not changed since the first take.
/// - `claim` makes the worker the next owner if the lease has none and its owner has not changed since it was read; it
///   changes nothing else, and a repeated claim succeeds again.
/// - `renew` changes the heartbeat of each given lease that the worker still holds, stores the new checkpoints, and
///   returns the leases in the given order; a lease that the worker no longer holds is not changed and is returned as
///   `None`.
/// - `renew` with an empty list succeeds, because a worker without leases renews as well.
/// - A renewal that is repeated after a lost reply succeeds.
/// - `release` makes the next owner the owner, or leaves the lease without an owner, stores the new checkpoint, and
///   returns true; if the worker no longer holds the lease, it changes nothing and returns false.
/// - The lease of a shard that ended, by `renew` or `release`, has no owner and no next owner, and is never taken or
///   claimed again.
/// - `remove` deletes the given leases whose shards have ended, and no others.
/// - After a call has returned, every later call sees its effect, from any worker.
///
/// An `Err` means that the outcome is unknown: the call may have had its effect, and `leases` shows whether it has.
pub trait LeaseStore: Send + Sync + 'static {
    /// Returns all leases, sorted by shard.
    fn leases(&self) -> impl Future<Output = Result<Vec<Lease>, StorageError>> + Send;

    /// Creates leases without owners, for those of the given shards that have no lease.
    fn create(&self, leases: &[NewLease]) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Makes `worker` the owner of `lease`. Returns `None` if the lease has changed since it was read.
    fn take(
        &self,
        lease: &Lease,
        worker: &str,
    ) -> impl Future<Output = Result<Option<Lease>, StorageError>> + Send;

    /// Asks the owner of `lease` to hand it over to `worker`. Returns false if the owner has changed, or if another
    /// worker is the next owner.
    fn claim(&self, lease: &Lease, worker: &str) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Renews the leases that `worker` holds, and stores their new checkpoints.
    fn renew(
        &self,
        worker: &str,
        held: &[Renewal],
    ) -> impl Future<Output = Result<Vec<Option<Lease>>, StorageError>> + Send;

    /// Gives up a lease that `worker` holds. Returns false if it no longer held the lease.
    fn release(
        &self,
        worker: &str,
        lease: &Renewal,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Deletes the leases of those of the given shards that have ended.
    fn remove(&self, shards: &[String]) -> impl Future<Output = Result<(), StorageError>> + Send;
}

impl<L: LeaseStore> LeaseStore for Arc<L> {
    fn leases(&self) -> impl Future<Output = Result<Vec<Lease>, StorageError>> + Send {
        L::leases(self)
    }

    fn create(&self, leases: &[NewLease]) -> impl Future<Output = Result<(), StorageError>> + Send {
        L::create(self, leases)
    }

    fn take(
        &self,
        lease: &Lease,
        worker: &str,
    ) -> impl Future<Output = Result<Option<Lease>, StorageError>> + Send {
        L::take(self, lease, worker)
    }

    fn claim(&self, lease: &Lease, worker: &str) -> impl Future<Output = Result<bool, StorageError>> + Send {
        L::claim(self, lease, worker)
    }

    fn renew(
        &self,
        worker: &str,
        held: &[Renewal],
    ) -> impl Future<Output = Result<Vec<Option<Lease>>, StorageError>> + Send {
        L::renew(self, worker, held)
    }

    fn release(
        &self,
        worker: &str,
        lease: &Renewal,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send {
        L::release(self, worker, lease)
    }

    fn remove(&self, shards: &[String]) -> impl Future<Output = Result<(), StorageError>> + Send {
        L::remove(self, shards)
    }
}

/// The right of one worker to read one shard, until another worker takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Id of the shard.
    pub shard: String,
    /// Shards that must be processed to their end before this one, in any order.
    pub parents: Vec<String>,
    /// Worker that reads the shard.
    pub owner: Option<String>,
    /// Worker to which the owner is asked to hand the lease over.
    pub next_owner: Option<String>,
    /// Number that changes whenever the owner changes. A store may change it with every renewal, too.
    pub counter: u64,
    /// Number that changes with every renewal. A store may keep one heartbeat for all leases of a worker.
    pub heartbeat: u64,
    /// Point up to which the records of the shard are processed.
    pub checkpoint: Checkpoint,
}

impl Lease {
    /// True if all records that the shard will ever hold are processed.
    pub fn has_ended(&self) -> bool {
        self.checkpoint == Checkpoint::End
    }
}

/// A lease to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLease {
    /// Id of the shard.
    pub shard: String,
    /// Shards that must be processed to their end before this one, in any order.
    pub parents: Vec<String>,
    /// Point at which reading begins.
    pub checkpoint: Checkpoint,
}

/// A held lease to renew or release, with its new checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The lease, as [`take`](LeaseStore::take) or the last [`renew`](LeaseStore::renew) returned it.
    pub lease: Lease,
    /// New checkpoint; `None` to keep the stored one.
    pub checkpoint: Option<Checkpoint>,
}

/// Point up to which the records of a shard are processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing is processed; reading begins with the oldest record of the shard.
    TrimHorizon,
    /// Nothing is processed; reading begins with the first record that arrives after the reader has started.
    Latest,
    /// Nothing is processed; reading begins with the first record at or after this time, which has microseconds.
    At(Timestamp),
    /// Everything up to and including this position is processed.
    After(ShardPosition),
    /// Everything that the shard will ever hold is processed.
    End,
}

/// Position of a record in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardPosition {
    /// Sequence number of the record, in the notation of the bus.
    pub sequence_number: Arc<str>,
    /// Index of the part of an aggregated record, from 0; 0 for a record without parts.
    pub part: u64,
    /// Approximate time at which the record arrived on the bus, in microseconds.
    pub time: Option<Timestamp>,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("the oldest record"),
            Self::Latest => f.write_str("the latest record"),
            Self::At(time) => write!(f, "the records from {time} on"),
            Self::After(position) => {
                write!(f, "the records after {} part {}", position.sequence_number, position.part)
            }
            Self::End => f.write_str("the end"),
        }
    }
}
