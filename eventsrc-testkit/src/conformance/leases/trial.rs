//! Environment of a rule about leases.

use std::sync::Arc;

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal, ShardPosition};

use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::LeaseBackend;

/// Environment of one rule: a location of its own.
pub(super) struct LeaseTrial<B: LeaseBackend> {
    backend: Arc<B>,
    location: B::Location,
}

impl<B: LeaseBackend> LeaseTrial<B> {
    /// Creates an environment with a new location.
    pub(super) async fn new(backend: Arc<B>) -> Self {
        let location = backend.create().await;
        Self { backend, location }
    }

    /// Opens a new handle on the leases.
    pub(super) async fn open(&self) -> LeaseHandle<B> {
        LeaseHandle(Arc::new(self.backend.open(&self.location).await))
    }

    /// Opens a new handle, and creates a free lease of this shard.
    pub(super) async fn lease(&self, shard: &str) -> Result<(LeaseHandle<B>, Lease), Violation> {
        let handle = self.open().await;
        let lease = handle.creates(shard).await?;
        Ok((handle, lease))
    }

    /// Opens a new handle, and creates a lease of this shard that `worker` owns.
    pub(super) async fn taken(
        &self,
        shard: &str,
        worker: &str,
    ) -> Result<(LeaseHandle<B>, Lease), Violation> {
        let (handle, lease) = self.lease(shard).await?;
        let taken = handle.takes(&lease, worker).await?;
        Ok((handle, taken))
    }
}

/// Returns a new lease of a shard without parents, with the checkpoint at the beginning of the shard.
pub(super) fn new_lease(shard: &str) -> NewLease {
    NewLease { shard: shard.to_owned(), parents: Vec::new(), checkpoint: Checkpoint::TrimHorizon }
}

/// Returns a checkpoint after a record with this number.
pub(super) fn after(number: u64) -> Checkpoint {
    Checkpoint::After(ShardPosition {
        sequence_number: format!("4957000000000000000000000000000000000000000000000{number:07}").into(),
        part: 0,
        time: Some(time(number)),
    })
}

/// Returns a checkpoint of each kind that a shard before its end may have.
pub(super) fn checkpoints() -> Vec<Checkpoint> {
    let position = |sequence_number: &str, part, time| ShardPosition {
        sequence_number: sequence_number.into(),
        part,
        time,
    };
    vec![
        Checkpoint::TrimHorizon,
        Checkpoint::Latest,
        Checkpoint::At(time(1)),
        Checkpoint::After(position("0", 0, None)),
        Checkpoint::After(position("21267647932558653966460912964485513215", 1 << 40, None)),
        Checkpoint::After(position(&"9".repeat(56), 7, Some(time(2)))),
        Checkpoint::After(position(
            "49570000000000000000000000000000000000000000000000000001",
            0,
            Some(time(3)),
        )),
        after(4),
    ]
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_000_001 + number as i64 * 1_000_003)
        .expect("a time of this century is in range")
}

/// Returns a renewal without a new checkpoint.
pub(super) fn renewal(lease: &Lease) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: None }
}

/// Returns a renewal with this checkpoint.
pub(super) fn renewal_with(lease: &Lease, checkpoint: Checkpoint) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: Some(checkpoint) }
}

/// Returns the owner and the next owner of a lease.
pub(super) fn owners(lease: &Lease) -> (Option<&str>, Option<&str>) {
    (lease.owner.as_deref(), lease.next_owner.as_deref())
}

/// Handle on leases. Its methods end the rule with a violation if the answer is not the expected one.
pub(super) struct LeaseHandle<B: LeaseBackend>(Arc<B::Store>);

impl<B: LeaseBackend> Clone for LeaseHandle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: LeaseBackend> LeaseHandle<B> {
    /// Returns the store.
    pub(super) fn store(&self) -> &B::Store {
        &self.0
    }

    /// Returns all leases.
    pub(super) async fn leases(&self) -> Result<Vec<Lease>, Violation> {
        Ok(self.0.leases().await?)
    }

    /// Returns the lease of this shard.
    pub(super) async fn lease(&self, shard: &str) -> Result<Lease, Violation> {
        let mut found = self.leases().await?.into_iter().filter(|lease| lease.shard == shard);
        let lease = found.next().ok_or_else(|| Violation::new(format!("there is no lease of {shard}")))?;
        ensure!(found.next().is_none(), "there are two leases of {shard}");
        Ok(lease)
    }

    /// Creates a lease of this shard and returns it.
    pub(super) async fn creates(&self, shard: &str) -> Result<Lease, Violation> {
        self.0.create(&[new_lease(shard)]).await?;
        self.lease(shard).await
    }

    /// Takes a lease, and expects to get it as it is stored afterwards.
    pub(super) async fn takes(&self, lease: &Lease, worker: &str) -> Result<Lease, Violation> {
        let taken = self.0.take(lease, worker).await?;
        let taken = taken.ok_or_else(|| Violation::new(format!("{worker} could not take {lease:?}")))?;
        ensure_eq!(
            owners(&taken),
            (Some(worker), None),
            "the owner and the next owner of the lease that {worker} took"
        );
        ensure_eq!(
            self.lease(&lease.shard).await?,
            taken,
            "the stored lease, compared with the one that `take` returned"
        );
        Ok(taken)
    }

    /// Takes a lease, and expects `None` and no change.
    pub(super) async fn refuses_take(&self, lease: &Lease, worker: &str) -> RuleResult {
        let before = self.leases().await?;
        let taken = self.0.take(lease, worker).await?;
        ensure!(taken.is_none(), "{worker} must not take {lease:?}, but got {taken:?}");
        self.has(&before).await
    }

    /// Claims a lease, and expects to be its next owner.
    pub(super) async fn claims(&self, lease: &Lease, worker: &str) -> Result<Lease, Violation> {
        ensure!(self.0.claim(lease, worker).await?, "{worker} could not claim {lease:?}");
        let claimed = self.lease(&lease.shard).await?;
        ensure_eq!(claimed.next_owner.as_deref(), Some(worker), "the next owner");
        Ok(claimed)
    }

    /// Claims a lease, and expects `false` and no change.
    pub(super) async fn refuses_claim(&self, lease: &Lease, worker: &str) -> RuleResult {
        let before = self.leases().await?;
        ensure!(!self.0.claim(lease, worker).await?, "{worker} must not claim {lease:?}");
        self.has(&before).await
    }

    /// Renews one lease, and expects to get it as it is stored afterwards.
    pub(super) async fn renews(&self, worker: &str, renewal: &Renewal) -> Result<Lease, Violation> {
        let renewed = self.0.renew(worker, std::slice::from_ref(renewal)).await?;
        match <[_; 1]>::try_from(renewed) {
            Ok([Some(lease)]) => {
                ensure_eq!(
                    self.lease(&lease.shard).await?,
                    lease,
                    "the stored lease, compared with the one that `renew` returned"
                );
                Ok(lease)
            }
            other => Err(Violation::new(format!("{worker} could not renew {renewal:?}, and got {other:?}"))),
        }
    }

    /// Renews one lease, and expects `None` and no change.
    pub(super) async fn refuses_renewal(&self, worker: &str, renewal: &Renewal) -> RuleResult {
        let before = self.lease(&renewal.lease.shard).await?;
        let renewed = self.0.renew(worker, std::slice::from_ref(renewal)).await?;
        ensure_eq!(renewed, vec![None], "the answer to {worker}, which does not hold {renewal:?}");
        let mut now = self.lease(&renewal.lease.shard).await?;
        if now.owner.as_deref() == Some(worker) {
            // A backend may keep one heartbeat for all leases of a worker.
            now.heartbeat = before.heartbeat;
        }
        ensure_eq!(now, before, "the lease that a refused renewal must not change");
        Ok(())
    }

    /// Releases a lease, and expects `true`. Returns the lease as it is stored afterwards.
    pub(super) async fn releases(&self, worker: &str, renewal: &Renewal) -> Result<Lease, Violation> {
        ensure!(self.0.release(worker, renewal).await?, "{worker} could not release {renewal:?}");
        self.lease(&renewal.lease.shard).await
    }

    /// Releases a lease, and expects `false` and no change.
    pub(super) async fn refuses_release(&self, worker: &str, renewal: &Renewal) -> RuleResult {
        let before = self.leases().await?;
        ensure!(
            !self.0.release(worker, renewal).await?,
            "{worker} must not release {renewal:?}, which it does not hold"
        );
        self.has(&before).await
    }

    /// Expects exactly these leases.
    pub(super) async fn has(&self, expected: &[Lease]) -> RuleResult {
        ensure_eq!(self.leases().await?, expected, "the leases");
        Ok(())
    }
}
