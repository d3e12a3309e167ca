//! Leases in a DynamoDB table.

mod layout;
mod renewed;
mod table;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use eventsrc_core::{ErrorKind, StorageError};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use futures::{StreamExt, TryStreamExt, stream};

use renewed::RenewedCounters;
use table::{Table, UpdateOutcome};

/// Maximum number of concurrent requests.
const CONCURRENT_REQUESTS: usize = 16;

/// Maximum number of attempts to release a lease that changes meanwhile.
const RELEASE_ATTEMPTS: usize = 4;

/// Leases of one group of workers in a DynamoDB table. Cheap to clone.
///
/// The table has the layout of the Kinesis Client Library (2.x and 3.x): its tools can read the table, and its workers can
/// share the leases. The name of the table is the library's name of the application. The partition key is the string
/// `leaseKey`. Rows that are not leases, and attributes that this crate does not know, are left unchanged.
///
/// Each renewal of a lease is one write of one write unit. If no worker of the Kinesis Client Library shares the leases,
/// leases in Postgres cost less.
#[derive(Clone)]
pub struct LeaseTable(Arc<Inner>);

struct Inner {
    table: Table,
    renewed: RenewedCounters,
}

impl LeaseTable {
    /// Uses the leases in the table `name`. No request is sent.
    pub fn new(client: Client, name: &str) -> Self {
        let table = Table { client, name: name.to_owned() };
        Self(Arc::new(Inner { table, renewed: RenewedCounters::default() }))
    }

    /// Creates the table with on-demand billing if it does not exist, and waits until it is active.
    ///
    /// This method is for development and tests. In production, create tables with the rest of the infrastructure.
    ///
    /// # Errors
    ///
    /// `Refused` if the permission is missing; otherwise the error of the service.
    pub async fn create_table(&self) -> Result<(), StorageError> {
        self.0.table.create().await
    }

    async fn renew_one(&self, worker: &str, renewal: &Renewal) -> Result<Option<Lease>, StorageError> {
        let Renewal { lease, checkpoint } = renewal;
        let Inner { table, renewed } = &*self.0;
        let mut counter = renewed.latest(lease);
        loop {
            let change = layout::renew(counter, worker, checkpoint.as_ref());
            match table.update("renew a lease in", &lease.shard, change).await? {
                UpdateOutcome::Updated(now) => {
                    renewed.record(&lease.shard, counter, now.counter);
                    return Ok(Some(now));
                }
                // An earlier attempt of this renewal succeeded, and its reply was lost.
                UpdateOutcome::ConditionFailed(now) if is_held(&now, worker, counter + 1) => {
                    renewed.record(&lease.shard, counter, now.counter);
                    if checkpoint.as_ref().is_none_or(|checkpoint| now.checkpoint == *checkpoint) {
                        return Ok(Some(now));
                    }
                    counter = now.counter;
                }
                UpdateOutcome::ConditionFailed(now)
                    if now.has_ended() && *checkpoint == Some(Checkpoint::End) =>
                {
                    return Ok(Some(now));
                }
                UpdateOutcome::ConditionFailed(_) | UpdateOutcome::Missing => return Ok(None),
            }
        }
    }

    async fn remove_one(&self, shard: &str) -> Result<(), StorageError> {
        self.0.renewed.forget(shard);
        self.0.table.remove(shard).await
    }
}

impl LeaseStore for LeaseTable {
    async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        let mut leases = self.0.table.leases().await?;
        leases.sort_unstable_by(|a, b| a.shard.cmp(&b.shard));
        Ok(leases)
    }

    async fn create(&self, leases: &[NewLease]) -> Result<(), StorageError> {
        // Of several new leases for one shard, the first one is created.
        let mut shards = HashSet::new();
        let first = leases.iter().filter(|lease| shards.insert(&lease.shard));
        let puts: Vec<_> = first.map(|lease| self.0.table.put(lease)).collect();
        stream::iter(puts).buffer_unordered(CONCURRENT_REQUESTS).try_collect().await
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        let change = layout::take(lease, worker);
        match self.0.table.update("take a lease in", &lease.shard, change).await? {
            UpdateOutcome::Updated(now) => {
                self.0.renewed.forget(&lease.shard);
                Ok(Some(now))
            }
            // An earlier attempt of this take succeeded, and its reply was lost.
            UpdateOutcome::ConditionFailed(now)
                if is_held(&now, worker, lease.counter + 1) && now.next_owner.is_none() =>
            {
                Ok(Some(now))
            }
            UpdateOutcome::ConditionFailed(_) | UpdateOutcome::Missing => Ok(None),
        }
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        let Some(owner) = &lease.owner else { return Ok(false) };
        let change = layout::claim(owner, worker);
        match self.0.table.update("claim a lease in", &lease.shard, change).await? {
            UpdateOutcome::Updated(_) => Ok(true),
            UpdateOutcome::ConditionFailed(now) => {
                Ok(now.owner == lease.owner && now.next_owner.as_deref() == Some(worker))
            }
            UpdateOutcome::Missing => Ok(false),
        }
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        let renewals: Vec<_> = held.iter().map(|renewal| self.renew_one(worker, renewal)).collect();
        // All leases are renewed, even if the renewal of one fails.
        let renewed: Vec<_> = stream::iter(renewals).buffered(CONCURRENT_REQUESTS).collect().await;
        renewed.into_iter().collect()
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Result<bool, StorageError> {
        let Renewal { lease, checkpoint } = lease;
        let mut counter = self.0.renewed.latest(lease);
        let mut has_next_owner = lease.next_owner.is_some();
        for _ in 0..RELEASE_ATTEMPTS {
            let change = layout::release(counter, worker, has_next_owner, checkpoint.as_ref());
            match self.0.table.update("release a lease in", &lease.shard, change).await? {
                UpdateOutcome::Updated(_) => {
                    self.0.renewed.forget(&lease.shard);
                    return Ok(true);
                }
                // Another worker claimed the lease meanwhile, or the reply to a renewal was lost.
                UpdateOutcome::ConditionFailed(now)
                    if (counter..=counter + 1).any(|counter| is_held(&now, worker, counter)) =>
                {
                    (counter, has_next_owner) = (now.counter, now.next_owner.is_some());
                }
                UpdateOutcome::ConditionFailed(_) | UpdateOutcome::Missing => return Ok(false),
            }
        }
        let shard = &lease.shard;
        let what = format!(
            "cannot release the lease {shard}: it changed during {RELEASE_ATTEMPTS} attempts; retry later"
        );
        Err(StorageError::new(ErrorKind::Unavailable, what))
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        let removes: Vec<_> = shards.iter().map(|shard| self.remove_one(shard)).collect();
        stream::iter(removes).buffer_unordered(CONCURRENT_REQUESTS).try_collect().await
    }
}

/// True if `worker` owns the lease, and the lease has this counter.
fn is_held(now: &Lease, worker: &str, counter: u64) -> bool {
    now.owner.as_deref() == Some(worker) && now.counter == counter
}

impl fmt::Debug for LeaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseTable").field("name", &self.0.table.name).finish_non_exhaustive()
    }
}
