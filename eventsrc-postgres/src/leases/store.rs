//! Lease store in Postgres.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use eventsrc_core::{ErrorKind, StorageError};

use super::layout::{CheckpointRows, LeaseLayout, LeaseRow};
use crate::postgres::Postgres;

/// Lease store for one group of workers in a [`Postgres`]. A name separates it from other groups. Cheap to clone.
///
/// A worker renews all its leases with one statement in one round trip. The statement writes one row for the worker, and
/// the row of each lease with a new checkpoint. The server's clock has no effect.
#[derive(Clone)]
pub struct PostgresLeases {
    postgres: Postgres,
    group: Arc<str>,
    layout: Arc<LeaseLayout>,
}

impl PostgresLeases {
    /// Lease store in `postgres` for the group called `group`.
    pub fn new(postgres: &Postgres, group: &str) -> Self {
        let layout = Arc::new(LeaseLayout::new(postgres.schema()));
        Self { postgres: postgres.clone(), group: group.into(), layout }
    }

    fn lease(&self, row: LeaseRow) -> Result<Lease, StorageError> {
        row.into_lease().map_err(|reason| {
            let what = format!("cannot read a lease of the group {}", self.group);
            StorageError::new(ErrorKind::Corrupt, what).because(reason)
        })
    }
}

impl LeaseStore for PostgresLeases {
    async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        let rows = self.layout.leases(self.postgres.read_connections(), &self.group).await?;
        rows.into_iter().map(|row| self.lease(row)).collect()
    }

    async fn create(&self, leases: &[NewLease]) -> Result<(), StorageError> {
        let shards: Vec<_> = leases.iter().map(|lease| &*lease.shard).collect();
        let parents: Vec<_> =
            leases.iter().map(|lease| serde_json::Value::from(lease.parents.clone()).to_string()).collect();
        let checkpoints = checkpoints(leases.iter().map(|lease| Some(&lease.checkpoint)))?;
        let connections = self.postgres.read_connections();
        Ok(self.layout.create(connections, &self.group, &shards, &parents, &checkpoints).await?)
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Result<Option<Lease>, StorageError> {
        let (Ok(counter), Ok(heartbeat)) = (i64::try_from(lease.counter), i64::try_from(lease.heartbeat))
        else {
            return Ok(None);
        };
        let connections = self.postgres.read_connections();
        let row = self.layout.take(connections, &self.group, worker, lease, [counter, heartbeat]).await?;
        row.map(|row| self.lease(row)).transpose()
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Result<bool, StorageError> {
        Ok(self.layout.claim(self.postgres.read_connections(), &self.group, worker, lease).await?)
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Result<Vec<Option<Lease>>, StorageError> {
        let shards: Vec<_> = held.iter().map(|renewal| &*renewal.lease.shard).collect();
        let counters: Vec<_> = held.iter().map(counter).collect();
        let checkpoints = checkpoints(held.iter().map(|renewal| renewal.checkpoint.as_ref()))?;
        let connections = self.postgres.read_connections();
        let rows =
            self.layout.renew(connections, &self.group, worker, (&shards, &counters), &checkpoints).await?;
        let renewed = rows.into_iter().map(|row| self.lease(row).map(|lease| (lease.shard.clone(), lease)));
        let renewed: HashMap<_, _> = renewed.collect::<Result<_, _>>()?;
        Ok(held.iter().map(|renewal| renewed.get(&renewal.lease.shard).cloned()).collect())
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Result<bool, StorageError> {
        let checkpoint = checkpoints([lease.checkpoint.as_ref()])?;
        let held = (&*lease.lease.shard, counter(lease));
        Ok(self
            .layout
            .release(self.postgres.read_connections(), &self.group, worker, held, &checkpoint)
            .await?)
    }

    async fn remove(&self, shards: &[String]) -> Result<(), StorageError> {
        Ok(self.layout.remove(self.postgres.read_connections(), &self.group, shards).await?)
    }
}

/// Counter of a lease; -1, which no row has, if the counter exceeds the range of the column.
fn counter(renewal: &Renewal) -> i64 {
    i64::try_from(renewal.lease.counter).unwrap_or(-1)
}

fn checkpoints<'a>(
    all: impl IntoIterator<Item = Option<&'a Checkpoint>>,
) -> Result<CheckpointRows<'a>, StorageError> {
    CheckpointRows::new(all).map_err(|error| {
        let what = "the number of the checkpoint's sub-record exceeds the largest that Postgres can store";
        StorageError::new(ErrorKind::Invalid, what).because(error)
    })
}

impl fmt::Debug for PostgresLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLeases").field("group", &self.group).finish_non_exhaustive()
    }
}
