//! Leases in Postgres.

pub(crate) mod layout;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use eventsrc_core::{ErrorKind, StorageError};

use crate::postgres::Postgres;
use layout::{CheckpointRows, LeaseLayout, LeaseRow};

/// The leases of one group of workers in a [`Postgres`], which is told from others by a name. Cheap to clone.
///
/// Whatever it holds, a worker renews with one statement in one round trip, which writes one row, and those of the leases with a
/// new checkpoint. The server's clock decides nothing.
#[derive(Clone)]
pub struct PostgresLeases {
    postgres: Postgres,
    group: Arc<str>,
    layout: Arc<LeaseLayout>,
}

impl PostgresLeases {
    /// The leases of `group`.
    pub fn new(postgres: &Postgres, group: &str) -> Self {
        let layout = Arc::new(LeaseLayout::new(postgres.schema()));
        Self { postgres: postgres.clone(), group: group.into(), layout }
    }

    fn lease(&self, row: LeaseRow) -> Result<Lease, StorageError> {
        row.into_lease().map_err(|why| {
            let what = format!("cannot read a lease of {}", self.group);
            StorageError::new(ErrorKind::Corrupt, what).because(why)
        })
    }
}

impl LeaseStore for PostgresLeases {
    async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        let rows = self.layout.leases(self.postgres.reading(), &self.group).await?;
        rows.into_iter().map(|row| self.lease(row)).collect()
    }

    async fn create(&self, leases: &[NewLease]) -> Result<(), StorageError> {
        let shards: Vec<_> = leases.iter().map(|lease| &*lease.shard).collect();
        let parents: Vec<_> =
            leases.iter().map(|lease| serde_json::Value::from(lease.parents.clone()).to_string()).collect();
        let checkpoints = checkpoints(leases.iter().map(|lease| Some(&lease.checkpoint)))?;
        let connections = self.postgres.reading();
        Ok(self.layout.create(connections, &self.group, &shards, &parents, &checkpoints).await?)
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        let (Ok(counter), Ok(heartbeat)) = (i64::try_from(lease.counter), i64::try_from(lease.heartbeat))
        else {
            return Ok(None);
        };
        let connections = self.postgres.reading();
        let row = self.layout.take(connections, &self.group, worker, lease, [counter, heartbeat]).await?;
        row.map(|row| self.lease(row)).transpose()
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        Ok(self.layout.claim(self.postgres.reading(), &self.group, worker, lease).await?)
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        let shards: Vec<_> = held.iter().map(|renewal| &*renewal.lease.shard).collect();
        let counters: Vec<_> = held.iter().map(counter).collect();
        let checkpoints = checkpoints(held.iter().map(|renewal| renewal.checkpoint.as_ref()))?;
        let connections = self.postgres.reading();
        let rows =
            self.layout.renew(connections, &self.group, worker, (&shards, &counters), &checkpoints).await?;
        let renewed = rows.into_iter().map(|row| self.lease(row).map(|lease| (lease.shard.clone(), lease)));
        let renewed: HashMap<_, _> = renewed.collect::<Result<_, _>>()?;
        Ok(held.iter().map(|renewal| renewed.get(&renewal.lease.shard).cloned()).collect())
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Result<bool, StorageError> {
        let checkpoint = checkpoints([lease.checkpoint.as_ref()])?;
        let held = (&*lease.lease.shard, counter(lease));
        Ok(self.layout.release(self.postgres.reading(), &self.group, worker, held, &checkpoint).await?)
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        Ok(self.layout.remove(self.postgres.reading(), &self.group, shards).await?)
    }
}

/// The counter of a lease that is held; one that no row can have stands for one that none has.
fn counter(renewal: &Renewal) -> i64 {
    i64::try_from(renewal.lease.counter).unwrap_or(-1)
}

fn checkpoints<'a>(
    all: impl IntoIterator<Item = Option<&'a Checkpoint>>,
) -> Result<CheckpointRows<'a>, StorageError> {
    CheckpointRows::new(all).map_err(|error| {
        let what = "the checkpoint is in a part of a record with a number that cannot be kept";
        StorageError::new(ErrorKind::Invalid, what).because(error)
    })
}

impl fmt::Debug for PostgresLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLeases").field("group", &self.group).finish_non_exhaustive()
    }
}
