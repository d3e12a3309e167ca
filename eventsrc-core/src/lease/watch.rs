//! Who lives, as far as one who looks on can tell.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::contract::Lease;

/// Looks at leases again and again, and tells whose owner is to be taken for dead, and which claim was not honoured in time.
///
/// It goes by its own time alone: an owner is dead once its lease has not changed for a while before the eyes of this watch.
/// A watch that was paused itself does not blame the owners: between two looks no more than half of any limit goes by.
#[derive(Debug)]
pub struct LeaseWatch {
    expiry: Duration,
    handover: Duration,
    last: Duration,
    seen: HashMap<String, Seen>,
}

/// What one look at the leases said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseObservation {
    /// The shards whose owners are to be taken for dead.
    pub expired: HashSet<String>,
    /// The shards whose owners have not handed them over to their heirs in time.
    pub overdue: HashSet<String>,
}

/// A lease as it was last seen, and for how long.
#[derive(Debug)]
struct Seen {
    owner: Option<String>,
    next_owner: Option<String>,
    counter: u64,
    heartbeat: u64,
    unchanged: Duration,
    claimed: Duration,
}

impl LeaseWatch {
    /// A watch that takes an owner for dead after `expiry`, and gives it the time `handover` to hand over what is claimed.
    pub fn new(expiry: Duration, handover: Duration) -> Self {
        Self { expiry, handover, last: Duration::ZERO, seen: HashMap::new() }
    }

    /// Looks at all leases there are, at the time `elapsed` of [`Clock::elapsed`](crate::clock::Clock::elapsed). Leases that are not
    /// there any more are forgotten.
    pub fn look(&mut self, leases: &[Lease], elapsed: Duration) -> LeaseObservation {
        let gone_by = elapsed.saturating_sub(self.last);
        self.last = elapsed;
        let mut sighting = LeaseObservation::default();
        let mut seen = HashMap::with_capacity(leases.len());
        for lease in leases.iter().filter(|lease| lease.owner.is_some()) {
            let mut now = Seen::new(lease);
            if let Some(before) = self.seen.get(&lease.shard) {
                now.unchanged = before.unchanged_in(&now, gone_by.min(self.expiry / 2));
                now.claimed = before.claimed_in(&now, gone_by.min(self.handover / 2));
            }
            if now.unchanged >= self.expiry {
                sighting.expired.insert(lease.shard.clone());
            }
            if now.next_owner.is_some() && now.claimed >= self.handover {
                sighting.overdue.insert(lease.shard.clone());
            }
            seen.insert(lease.shard.clone(), now);
        }
        self.seen = seen;
        sighting
    }
}

impl Seen {
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

    /// For how long the owner has given no sign, `gone_by` later.
    fn unchanged_in(&self, now: &Self, gone_by: Duration) -> Duration {
        let same = (&now.owner, now.counter, now.heartbeat) == (&self.owner, self.counter, self.heartbeat);
        if same { self.unchanged + gone_by } else { Duration::ZERO }
    }

    /// For how long the heir has waited, `gone_by` later. The counter may change with every renewal.
    fn claimed_in(&self, now: &Self, gone_by: Duration) -> Duration {
        let same = (&now.owner, &now.next_owner) == (&self.owner, &self.next_owner);
        if same { self.claimed + gone_by } else { Duration::ZERO }
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

    /// Whether `a` is expired after these looks, each at a second.
    fn expired(looks: impl IntoIterator<Item = (u64, Lease)>) -> bool {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        let look = |(second, lease)| watch.look(&[lease], Duration::from_secs(second)).expired.contains("a");
        looks.into_iter().map(look).last().unwrap()
    }

    #[test]
    fn an_owner_who_gives_no_sign_for_the_time_of_expiry_is_dead() {
        let still = |until: u64| (100..=until).map(|second| (second, lease("w", 1, 1)));
        assert!(!expired(still(109)));
        assert!(expired(still(110)));
        assert!(expired(still(200)));
    }

    #[test]
    fn any_sign_counts() {
        let then = |last: Lease| (0..=9).map(|second| (second, lease("w", 1, 1))).chain([(10, last)]);
        for sign in [lease("w", 1, 2), lease("w", 2, 1), lease("other", 1, 1), lease("w", 1, 0)] {
            assert!(!expired(then(sign.clone())), "{sign:?}");
            assert!(!expired(then(sign.clone()).chain((11..20).map(|second| (second, sign.clone())))));
            assert!(expired(then(sign.clone()).chain((11..=20).map(|second| (second, sign.clone())))));
        }
    }

    #[test]
    fn leases_that_nobody_has_do_not_expire() {
        assert!(!expired((0..100).map(|second| (second, lease("", 1, 1)))));
    }

    #[test]
    fn a_watch_that_slept_blames_nobody() {
        let (awake, asleep) = ((1, lease("w", 1, 1)), (100_000, lease("w", 1, 1)));
        assert!(!expired([awake.clone(), asleep.clone()]));
        assert!(!expired([awake.clone(), asleep.clone(), (100_001, lease("w", 1, 1))]));
        assert!(expired([awake, asleep, (200_000, lease("w", 1, 1))]), "it does come to an end");
    }

    #[test]
    fn a_clock_that_goes_back_harms_nobody() {
        assert!(!expired([(100, lease("w", 1, 1)), (50, lease("w", 1, 1)), (54, lease("w", 1, 1))]));
    }

    #[test]
    fn leases_that_are_gone_are_forgotten() {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        for second in 0..5 {
            watch.look(&[lease("w", 1, 1)], Duration::from_secs(second));
        }
        watch.look(&[], Duration::from_secs(5));
        assert!(watch.seen.is_empty());
        for second in 6..16 {
            let sighting = watch.look(&[lease("w", 1, 1)], Duration::from_secs(second));
            assert_eq!(sighting, LeaseObservation::default(), "at {second} s");
        }
    }

    #[test]
    fn a_claim_is_overdue_after_the_time_of_handover_whatever_the_pulse() {
        let mut watch = LeaseWatch::new(EXPIRY, HANDOVER);
        let mut overdue = |second, next_owner: Option<&str>| {
            let lease = Lease { next_owner: next_owner.map(str::to_owned), ..lease("w", second, second) };
            watch.look(&[lease], Duration::from_secs(second)).overdue.contains("a")
        };
        assert!((0..100).all(|second| !overdue(second, None)), "nobody claimed it");
        assert!((100..130).all(|second| !overdue(second, Some("x"))));
        assert!(overdue(130, Some("x")));
        assert!(!overdue(131, Some("y")), "another claim has its own time");
    }
}
