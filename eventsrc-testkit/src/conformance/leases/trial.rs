//! What a rule about leases works with.

use std::sync::Arc;

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease, Renewal, ShardPosition};

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::LeaseBackend;

/// A place of its own for one rule.
pub struct LeaseTrial<B: LeaseBackend> {
    backend: Arc<B>,
    place: B::Location,
}

impl<B: LeaseBackend> LeaseTrial<B> {
    /// A trial at a new place.
    pub async fn new(backend: Arc<B>) -> Self {
        let place = backend.create().await;
        Self { backend, place }
    }

    /// A new handle on the leases.
    pub async fn open(&self) -> LeaseHandle<B> {
        LeaseHandle(Arc::new(self.backend.open(&self.place).await))
    }

    /// A new handle, and a lease of this shard that nobody has.
    pub async fn lease(&self, shard: &str) -> Result<(LeaseHandle<B>, Lease), Violation> {
        let handle = self.open().await;
        let lease = handle.creates(shard).await?;
        Ok((handle, lease))
    }

    /// A new handle, and a lease of this shard that `worker` took.
    pub async fn taken(&self, shard: &str, worker: &str) -> Result<(LeaseHandle<B>, Lease), Violation> {
        let (handle, lease) = self.lease(shard).await?;
        let taken = handle.takes(&lease, worker).await?;
        Ok((handle, taken))
    }
}

/// A lease to be made for a shard without parents, which is to be read from its beginning.
pub(super) fn new_lease(shard: &str) -> NewLease {
    NewLease { shard: shard.to_owned(), parents: Vec::new(), checkpoint: Checkpoint::TrimHorizon }
}

/// A checkpoint after a record of this number.
pub(super) fn after(number: u64) -> Checkpoint {
    Checkpoint::After(ShardPosition {
        sequence_number: format!("4957000000000000000000000000000000000000000000000{number:07}").into(),
        part: 0,
        time: Some(time(number)),
    })
}

/// A checkpoint of each kind that a shard which has not ended may have.
pub(super) fn checkpoints() -> Vec<Checkpoint> {
    let place = |sequence_number: &str, part, time| ShardPosition {
        sequence_number: sequence_number.into(),
        part,
        time,
    };
    vec![
        Checkpoint::TrimHorizon,
        Checkpoint::Latest,
        Checkpoint::At(time(1)),
        Checkpoint::After(place("0", 0, None)),
        Checkpoint::After(place("21267647932558653966460912964485513215", 1 << 40, None)),
        Checkpoint::After(place(&"9".repeat(56), 7, Some(time(2)))),
        Checkpoint::After(place(
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

/// A lease without a new checkpoint.
pub(super) fn unmoved(lease: &Lease) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: None }
}

/// A lease that has come to this checkpoint.
pub(super) fn moved(lease: &Lease, checkpoint: Checkpoint) -> Renewal {
    Renewal { lease: lease.clone(), checkpoint: Some(checkpoint) }
}

/// Who owns a lease, and who is to.
pub(super) fn hands(lease: &Lease) -> (Option<&str>, Option<&str>) {
    (lease.owner.as_deref(), lease.next_owner.as_deref())
}

/// A handle on leases. Its calls end the rule with a violation where something else than expected comes back.
pub struct LeaseHandle<B: LeaseBackend>(Arc<B::Store>);

impl<B: LeaseBackend> Clone for LeaseHandle<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: LeaseBackend> LeaseHandle<B> {
    /// The store itself.
    pub fn store(&self) -> &B::Store {
        &self.0
    }

    /// All leases.
    pub async fn leases(&self) -> Result<Vec<Lease>, Violation> {
        Ok(self.0.leases().await?)
    }

    /// The lease of this shard.
    pub async fn lease(&self, shard: &str) -> Result<Lease, Violation> {
        let mut found = self.leases().await?.into_iter().filter(|lease| lease.shard == shard);
        let lease = found.next().ok_or_else(|| Violation::new(format!("there is no lease of {shard}")))?;
        ensure!(found.next().is_none(), "there are two leases of {shard}");
        Ok(lease)
    }

    /// Creates a lease of this shard, and gives it.
    pub async fn creates(&self, shard: &str) -> Result<Lease, Violation> {
        self.0.create(&[new_lease(shard)]).await?;
        self.lease(shard).await
    }

    /// Takes a lease, and expects to be given it as it is then.
    pub async fn takes(&self, lease: &Lease, worker: &str) -> Result<Lease, Violation> {
        let taken = self.0.take(lease, worker).await?;
        let taken = taken.ok_or_else(|| Violation::new(format!("{worker} was to take {lease:?}")))?;
        ensure_eq!(hands(&taken), (Some(worker), None), "who has what {worker} took");
        ensure_eq!(self.lease(&lease.shard).await?, taken, "what was taken, as it is");
        Ok(taken)
    }

    /// Takes a lease, and expects not to get it, and nothing to change.
    pub async fn takes_not(&self, lease: &Lease, worker: &str) -> RuleResult {
        let before = self.leases().await?;
        let taken = self.0.take(lease, worker).await?;
        ensure!(taken.is_none(), "{worker} was not to take {lease:?}, and got {taken:?}");
        self.has(&before).await
    }

    /// Claims a lease, and expects to be its heir.
    pub async fn claims(&self, lease: &Lease, worker: &str) -> Result<Lease, Violation> {
        ensure!(self.0.claim(lease, worker).await?, "{worker} was to claim {lease:?}");
        let claimed = self.lease(&lease.shard).await?;
        ensure_eq!(claimed.next_owner.as_deref(), Some(worker), "the heir");
        Ok(claimed)
    }

    /// Claims a lease, and expects to be refused, and nothing to change.
    pub async fn claims_not(&self, lease: &Lease, worker: &str) -> RuleResult {
        let before = self.leases().await?;
        ensure!(!self.0.claim(lease, worker).await?, "{worker} was not to claim {lease:?}");
        self.has(&before).await
    }

    /// Renews one lease, and expects it to be held still.
    pub async fn renews(&self, worker: &str, renewal: &Renewal) -> Result<Lease, Violation> {
        let renewed = self.0.renew(worker, std::slice::from_ref(renewal)).await?;
        match <[_; 1]>::try_from(renewed) {
            Ok([Some(lease)]) => {
                ensure_eq!(self.lease(&lease.shard).await?, lease, "what was renewed, as it is");
                Ok(lease)
            }
            other => Err(Violation::new(format!("{worker} was to renew {renewal:?}, and got {other:?}"))),
        }
    }

    /// Renews one lease, and expects it not to be held any more, and nothing to change.
    pub async fn renews_not(&self, worker: &str, renewal: &Renewal) -> RuleResult {
        let before = self.lease(&renewal.lease.shard).await?;
        let renewed = self.0.renew(worker, std::slice::from_ref(renewal)).await?;
        ensure_eq!(renewed, vec![None], "what {worker} is given that does not hold {renewal:?}");
        let mut now = self.lease(&renewal.lease.shard).await?;
        if now.owner.as_deref() == Some(worker) {
            // The pulse may be one of all that it owns.
            now.heartbeat = before.heartbeat;
        }
        ensure_eq!(now, before, "a lease that is to be left alone");
        Ok(())
    }

    /// Releases a lease, and expects it to have been held; gives it as it is now.
    pub async fn releases(&self, worker: &str, renewal: &Renewal) -> Result<Lease, Violation> {
        ensure!(self.0.release(worker, renewal).await?, "{worker} was to release {renewal:?}");
        self.lease(&renewal.lease.shard).await
    }

    /// Releases a lease, and expects it not to have been held any more, and nothing to change.
    pub async fn releases_not(&self, worker: &str, renewal: &Renewal) -> RuleResult {
        let before = self.leases().await?;
        ensure!(!self.0.release(worker, renewal).await?, "{worker} did not hold {renewal:?}");
        self.has(&before).await
    }

    /// Expects just these leases.
    pub async fn has(&self, expected: &[Lease]) -> RuleResult {
        ensure_eq!(self.leases().await?, expected, "the leases");
        Ok(())
    }
}
