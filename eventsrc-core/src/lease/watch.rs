//! Detection of workers that stopped renewing their leases.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::contract::Lease;

/// Observes leases repeatedly, and reports dead owners and overdue claims.
///
/// Only the observer's own monotonic clock counts: an owner is considered dead if its lease has not changed for the
/// time `expiry` while this watch observed it. If the observer itself was paused, owners are not considered dead for
/// that: between two observations, at most half of each limit counts as elapsed.
#[derive(Debug)]
pub struct LeaseWatch {
    expiry: Duration,
    handover: Duration,
    last: Duration,
    seen: HashMap<String, SeenLease>,
}

/// Result of one observation of all leases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseObservation {
    /// Shards whose owners are considered dead.
    pub expired: HashSet<String>,
    /// Shards whose owners have not handed them over to the next owner in time.
    pub overdue: HashSet<String>,
}

/// A lease as it was last observed, and for how long it has not changed.
#[derive(Debug)]
struct SeenLease {
    owner: Option<String>,
    next_owner: Option<String>,
    counter: u64,
    heartbeat: u64,
    /// Time without a renewal.
    unchanged: Duration,
    /// Time since the claim.
    claimed: Duration,
}

impl LeaseWatch {
    /// Creates a watch that considers an owner dead after `expiry` without a renewal, and a claim overdue after
    /// `handover`.
    pub fn new(expiry: Duration, handover: Duration) -> Self {
        Self { expiry, handover, last: Duration::ZERO, seen: HashMap::new() }
    }

    /// Observes all leases at the time `elapsed` of [`Clock::elapsed`](crate::clock::Clock::elapsed). Leases that no
    /// longer exist are forgotten.
    pub fn look(&mut self, leases: &[Lease], elapsed: Duration) -> LeaseObservation {
        let since_last = elapsed.saturating_sub(self.last);
        self.last = elapsed;
        let mut observation = LeaseObservation::default();
        let mut seen = HashMap::with_capacity(leases.len());
        for lease in leases.iter().filter(|lease| lease.owner.is_some()) {
            let mut now = SeenLease::new(lease);
            if let Some(before) = self.seen.get(&lease.shard) {
                now.unchanged = before.unchanged_in(&now, since_last.min(self.expiry / 2));
                now.claimed = before.claimed_in(&now, since_last.min(self.handover / 2));
            }
            if now.unchanged >= self.expiry {
                observation.expired.insert(lease.shard.clone());
            }
            if now.next_owner.is_some() && now.claimed >= self.handover {
                observation.overdue.insert(lease.shard.clone());
            }
            seen.insert(lease.shard.clone(), now);
        }
        self.seen = seen;
        observation
    }
}

impl SeenLease {
    fn new(lease: &Lease) -> Self {
        Self {
            owner: lease.owner.clone(),
            next_owner: lease.next_owner.clone(),
            counter: lease.counter,
            heartbeat: lease.heartbeat,
            unchanged: Duration::ZERO,
            claimed: Duration::ZERO,
        }
    }

    /// Time without a renewal, `since_last` after this observation.
    fn unchanged_in(&self, now: &Self, since_last: Duration) -> Duration {
        let same = (&now.owner, now.counter, now.heartbeat) == (&self.owner, self.counter, self.heartbeat);
        if same { self.unchanged + since_last } else { Duration::ZERO }
    }

    /// Time since the claim, `since_last` after this observation. The counter is ignored, because it may change with
    /// every renewal.
    fn claimed_in(&self, now: &Self, since_last: Duration) -> Duration {
        let same = (&now.owner, &now.next_owner) == (&self.owner, &self.next_owner);
        if same { self.claimed + since_last } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::contract::Checkpoint;

    const EXPIRY: Duration = Duration::from_secs(10);
    const HANDOVER: Duration = Duration::from_secs(30);

    fn lease(owner: &str, counter: u64, heartbeat: u64) -> Lease {
        Lease {
            shard: "a".into(),
            parents: Vec::new(),
            owner: (!owner.is_empty()).then(|| owner.to_owned()),
            next_owner: None,
            counter,
            heartbeat,
            checkpoint: Checkpoint::TrimHorizon,
        }
    }

    /// True if shard `a` is expired after these observations, each with its time in seconds.
    fn expired(observations: impl IntoIterator<Item = (u64, Lease)>) -> bool {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        let is_expired =
            |(second, lease)| watch.look(&[lease], Duration::from_secs(second)).expired.contains("a");
        observations.into_iter().map(is_expired).last().unwrap()
    }

    #[test]
    fn a_lease_without_a_renewal_expires_after_the_expiry_time() {
        let still = |until: u64| (100..=until).map(|second| (second, lease("w", 1, 1)));
        assert!(!expired(still(109)));
        assert!(expired(still(110)));
        assert!(expired(still(200)));
    }

    #[test]
    fn any_change_restarts_the_expiry_time() {
        let then = |last: Lease| (0..=9).map(|second| (second, lease("w", 1, 1))).chain([(10, last)]);
        for changed in [lease("w", 1, 2), lease("w", 2, 1), lease("other", 1, 1), lease("w", 1, 0)] {
            assert!(!expired(then(changed.clone())), "{changed:?}");
            let until = |last: u64| (11..=last).map(|second| (second, changed.clone()));
            assert!(!expired(then(changed.clone()).chain(until(19))));
            assert!(expired(then(changed.clone()).chain(until(20))));
        }
    }

    #[test]
    fn a_lease_without_an_owner_does_not_expire() {
        assert!(!expired((0..100).map(|second| (second, lease("", 1, 1)))));
    }

    #[test]
    fn a_pause_of_the_observer_expires_no_lease() {
        let (awake, asleep) = ((1, lease("w", 1, 1)), (100_000, lease("w", 1, 1)));
        assert!(!expired([awake.clone(), asleep.clone()]));
        assert!(!expired([awake.clone(), asleep.clone(), (100_001, lease("w", 1, 1))]));
        assert!(
            expired([awake, asleep, (200_000, lease("w", 1, 1))]),
            "a lease expires after several pauses"
        );
    }

    #[test]
    fn a_clock_that_goes_back_expires_no_lease() {
        assert!(!expired([(100, lease("w", 1, 1)), (50, lease("w", 1, 1)), (54, lease("w", 1, 1))]));
    }

    #[test]
    fn leases_that_no_longer_exist_are_forgotten() {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        for second in 0..5 {
            watch.look(&[lease("w", 1, 1)], Duration::from_secs(second));
        }
        watch.look(&[], Duration::from_secs(5));
        assert!(watch.seen.is_empty());
        for second in 6..16 {
            let observation = watch.look(&[lease("w", 1, 1)], Duration::from_secs(second));
            assert_eq!(observation, LeaseObservation::default(), "at {second} s");
        }
    }

    #[test]
    fn a_claim_is_overdue_after_the_handover_time_whatever_the_heartbeat() {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        let mut overdue = |second, next_owner: Option<&str>| {
            let lease = Lease { next_owner: next_owner.map(str::to_owned), ..lease("w", second, second) };
            watch.look(&[lease], Duration::from_secs(second)).overdue.contains("a")
        };
        assert!((0..100).all(|second| !overdue(second, None)), "it is not claimed");
        assert!((100..130).all(|second| !overdue(second, Some("x"))));
        assert!(overdue(130, Some("x")));
        assert!(!overdue(131, Some("y")), "another claim has a time of its own");
    }
}
