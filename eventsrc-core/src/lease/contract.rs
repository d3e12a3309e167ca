//! The contract of a lease store.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::storage::StorageError;

/// Keeps the leases of one group of workers on the shards of one bus. This is what a new kind of database for leases
/// implements.
///
/// A lease says who reads a shard, and how far it was dealt with. Leases and checkpoints save work; nothing is right because of
/// them. Two workers that read one shard at once cost reads, because a view compares positions, and a checkpoint that is lost
/// costs reading again.
///
/// No time is kept: whether an owner lives is judged by whoever looks, who has to see [`heartbeat`](Lease::heartbeat) stand still for a
/// while by his own clock, as [`LeaseWatch`] does. So clocks may differ as they like. [`LeasePlan`] says what to do next. Each
/// worker needs a name that no other has or ever had.
///
/// The contract is checked sentence by sentence by the suite in `eventsrc-testkit`; [`MemoryLeases`] is the reference.
///
/// # Contract
///
/// - A shard has at most one lease; `create` leaves those alone that are there.
/// - `leases` are all there are, each once, by shard.
/// - `take` makes the worker the owner if the lease is as it was seen; of many that take it at once, one does.
/// - A lease that was taken, claimed, renewed or released since it was seen is not taken.
/// - What is taken has another `counter`, no heir, and its checkpoint as it was.
/// - A take made again, because its answer was lost, gives the lease if nothing became of it since.
/// - `claim` makes the worker the heir if there is none and the owner is the one that was seen, and changes nothing else; made
///   again, it stands.
/// - `renew` moves the pulse of all these leases that the worker still holds, keeps their new checkpoints, and gives them as
///   they are now, in the order asked for; one that it does not hold any more is left alone, and given as `None`.
/// - `renew` of no lease at all is allowed: a worker that holds nothing lives as well.
/// - A renewal made again, because its answer was lost, renews.
/// - `release` makes the heir the owner, or nobody, keeps the new checkpoint, and answers whether the lease was still held; one
///   that was not is left alone.
/// - A shard that ended, by `renew` or `release`, has neither owner nor heir any more, and is not taken or claimed again.
/// - `remove` forgets the leases of shards that ended, and of no others.
/// - What was answered is there for every later call, from any worker.
///
/// An `Err` means unknown: what was asked for is done or not, as `leases` tells.
pub trait LeaseStore: Send + Sync + 'static {
    /// All leases, by shard.
    fn leases(&self) -> impl Future<Output = Result<Vec<Lease>, StorageError>> + Send;

    /// Makes leases that nobody has, for shards that have none.
    fn create(&self, leases: &[NewLease]) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Makes `worker` the owner of `lease`; `None` if it is not any more as it was seen.
    fn take(
        &self,
        lease: &Lease,
        worker: &str,
    ) -> impl Future<Output = Result<Option<Lease>, StorageError>> + Send;

    /// Asks the owner of `lease` to hand it over to `worker`; false if it has another owner by now, or another heir.
    fn claim(&self, lease: &Lease, worker: &str) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Says that `worker` lives and holds these leases, and keeps how far it is.
    fn renew(
        &self,
        worker: &str,
        held: &[Renewal],
    ) -> impl Future<Output = Result<Vec<Option<Lease>>, StorageError>> + Send;

    /// Gives up a lease that `worker` holds; false if it did not hold it any more.
    fn release(
        &self,
        worker: &str,
        lease: &Renewal,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Forgets the leases of these shards, as far as they have ended.
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

/// The right to read a shard, for as long as nobody takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The shard.
    pub shard: String,
    /// The shards that have to be dealt with before this one, in any order.
    pub parents: Vec<String>,
    /// The worker that reads it.
    pub owner: Option<String>,
    /// The worker that the owner is to hand it over to.
    pub next_owner: Option<String>,
    /// Another one whenever the lease changes hands; a store may change it with every renewal as well.
    pub counter: u64,
    /// Another one with every renewal. A store may keep one for all leases of a worker.
    pub heartbeat: u64,
    /// Up to where its records were dealt with.
    pub checkpoint: Checkpoint,
}

impl Lease {
    /// Whether all that the shard ever held was dealt with.
    pub fn has_ended(&self) -> bool {
        self.checkpoint == Checkpoint::End
    }
}

/// A lease to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLease {
    /// The shard.
    pub shard: String,
    /// The shards that have to be dealt with before this one, in any order.
    pub parents: Vec<String>,
    /// Where to begin.
    pub checkpoint: Checkpoint,
}

/// A lease that its owner holds, as it was given last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The lease, as it was given by [`take`](LeaseStore::take), or last by [`renew`](LeaseStore::renew).
    pub lease: Lease,
    /// A new checkpoint, if there is one.
    pub checkpoint: Option<Checkpoint>,
}

/// Up to where the records of a shard were dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing yet: begin with the oldest record there is.
    TrimHorizon,
    /// Nothing yet: begin with the first record after somebody asks.
    Latest,
    /// Nothing yet: begin with the first record from this time on, to the microsecond.
    At(Timestamp),
    /// Everything up to here.
    After(ShardPosition),
    /// Everything there ever will be.
    End,
}

/// A place in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardPosition {
    /// The sequence number of the record, as the bus writes it.
    pub sequence_number: Arc<str>,
    /// Which of the parts of the record, from 0, where it has several.
    pub part: u64,
    /// When the record came to the bus, roughly, to the microsecond.
    pub time: Option<Timestamp>,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("the oldest record"),
            Self::Latest => f.write_str("the latest record"),
            Self::At(time) => write!(f, "the records from {time} on"),
            Self::After(place) => {
                write!(f, "the records after {} part {}", place.sequence_number, place.part)
            }
            Self::End => f.write_str("the end"),
        }
    }
}
