//! Leases in a table of DynamoDB.

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

use renewed::Renewed;
use table::{Changed, Table};

/// How many requests are under way at a time.
const AT_ONCE: usize = 16;

/// How often a lease is given up anew because somebody claimed it meanwhile.
const RELEASES: usize = 4;

/// The leases of one group of workers in a table of DynamoDB, as the Kinesis Client Library (2.x and 3.x) lays it out: its tools
/// can read it, and its workers can share it. Cheap to clone.
///
/// The table has the library's name for the application, and the partition key `leaseKey`, a string. Rows that are no leases, and
/// attributes that are not ours, are left alone. A renewal is one write of one unit for each lease: where there are no such
/// workers, leases in Postgres cost less.
#[derive(Clone)]
pub struct LeaseTable(Arc<Inner>);

struct Inner {
    table: Table,
    renewed: Renewed,
}

impl LeaseTable {
    /// The leases in the table called `name`.
    pub fn new(client: Client, name: &str) -> Self {
        let table = Table { client, name: name.to_owned() };
        Self(Arc::new(Inner { table, renewed: Renewed::default() }))
    }

    /// Creates the table if it is not there, paid per request, and waits until it can be used. This is for development and
    /// tests: in production, tables belong to whoever looks after the rest of the infrastructure.
    ///
    /// # Errors
    ///
    /// `Refused` without the permission; otherwise as the service fails.
    pub async fn create_table(&self) -> Result<(), StorageError> {
        self.0.table.create().await
    }

    async fn renew_one(&self, worker: &str, renewal: &Renewal) -> Result<Option<Lease>, StorageError> {
        let Renewal { lease, checkpoint } = renewal;
        let Inner { table, renewed } = &*self.0;
        let mut counter = renewed.latest(lease);
        loop {
            let change = layout::renew(counter, worker, checkpoint.as_ref());
            match table.change("renew a lease in", &lease.shard, change).await? {
                Changed::Done(now) => {
                    renewed.moved(&lease.shard, counter, now.counter);
                    return Ok(Some(now));
                }
                // It met itself: the service did as it was asked before, and the answer was lost.
                Changed::Refused(now) if is_held(&now, worker, counter + 1) => {
                    renewed.moved(&lease.shard, counter, now.counter);
                    if checkpoint.as_ref().is_none_or(|checkpoint| now.checkpoint == *checkpoint) {
                        return Ok(Some(now));
                    }
                    counter = now.counter;
                }
                Changed::Refused(now) if now.has_ended() && *checkpoint == Some(Checkpoint::End) => {
                    return Ok(Some(now));
                }
                Changed::Refused(_) | Changed::Missing => return Ok(None),
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
        // The first of a shard that is named twice is the one that is kept.
        let mut named = HashSet::new();
        let first = leases.iter().filter(|lease| named.insert(&lease.shard));
        let puts: Vec<_> = first.map(|lease| self.0.table.put(lease)).collect();
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        let change = layout::take(lease, worker);
        match self.0.table.change("take a lease in", &lease.shard, change).await? {
            Changed::Done(now) => {
                self.0.renewed.forget(&lease.shard);
                Ok(Some(now))
            }
            // It met itself.
            Changed::Refused(now) if is_held(&now, worker, lease.counter + 1) && now.next_owner.is_none() => {
                Ok(Some(now))
            }
            Changed::Refused(_) | Changed::Missing => Ok(None),
        }
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        let Some(owner) = &lease.owner else { return Ok(false) };
        let change = layout::claim(owner, worker);
        match self.0.table.change("claim a lease in", &lease.shard, change).await? {
            Changed::Done(_) => Ok(true),
            Changed::Refused(now) => {
                Ok(now.owner == lease.owner && now.next_owner.as_deref() == Some(worker))
            }
            Changed::Missing => Ok(false),
        }
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        let renewals: Vec<_> = held.iter().map(|renewal| self.renew_one(worker, renewal)).collect();
        // One that fails does not keep the others from being renewed.
        let renewed: Vec<_> = stream::iter(renewals).buffered(AT_ONCE).collect().await;
        renewed.into_iter().collect()
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Result<bool, StorageError> {
        let Renewal { lease, checkpoint } = lease;
        let mut counter = self.0.renewed.latest(lease);
        let mut has_heir = lease.next_owner.is_some();
        for _ in 0..RELEASES {
            let change = layout::release(counter, worker, has_heir, checkpoint.as_ref());
            match self.0.table.change("release a lease in", &lease.shard, change).await? {
                Changed::Done(_) => {
                    self.0.renewed.forget(&lease.shard);
                    return Ok(true);
                }
                // Somebody claimed it since it was seen, or the answer to a renewal was lost.
                Changed::Refused(now)
                    if (counter..=counter + 1).any(|counter| is_held(&now, worker, counter)) =>
                {
                    (counter, has_heir) = (now.counter, now.next_owner.is_some());
                }
                Changed::Refused(_) | Changed::Missing => return Ok(false),
            }
        }
        let what = format!("cannot release the lease {}: it changes again and again", lease.shard);
        Err(StorageError::new(ErrorKind::Unavailable, what))
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        let removes: Vec<_> = shards.iter().map(|shard| self.remove_one(shard)).collect();
        stream::iter(removes).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Whether `worker` owns the lease, with this counter.
fn is_held(now: &Lease, worker: &str, counter: u64) -> bool {
    now.owner.as_deref() == Some(worker) && now.counter == counter
}

impl fmt::Debug for LeaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseTable").field("name", &self.0.table.name).finish_non_exhaustive()
    }
}
