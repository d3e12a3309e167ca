//! Distribution of leases: each worker decides for itself which leases it takes or claims.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::contract::Lease;
use super::watch::LeaseObservation;

/// Next steps of one worker, computed from all leases as the worker sees them.
///
/// A lease is ready if its shard has not ended and all of its parents have ended or have no lease any more. The ready
/// leases are shared by the live workers: this worker, and each owner or next owner of a lease that has not expired.
/// Shares are equal, and as many workers as necessary get one lease more. Each worker decides for itself. In whatever
/// order they act, the distribution becomes stable: every ready lease has an owner, and the loads of two workers differ
/// by at most one.
///
/// Other workers do not know a worker that holds no lease. Therefore the first worker of a new group may take many
/// leases that others claim from it later. A caller that wants to avoid this takes only the first lease of
/// [`take`](Self::take) at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePlan<'a> {
    /// Leases to take, in this order. Such a lease has no owner, or its owner is considered dead, or this worker
    /// claimed it and did not receive it in time, or this worker owns it without knowing because the reply of its take
    /// was lost.
    pub take: Vec<&'a Lease>,
    /// Lease to claim: at most one at a time, so that few leases change owners.
    pub claim: Option<&'a Lease>,
}

impl<'a> LeasePlan<'a> {
    /// Computes the plan of `worker`, which holds the leases for which `holds` returns true.
    pub fn new(
        leases: &'a [Lease],
        observation: &LeaseObservation,
        worker: &str,
        holds: impl Fn(&Lease) -> bool,
    ) -> Self {
        let mut take = Vec::new();
        let mut free = Vec::new();
        let mut claimable = Vec::new();
        let mut loads = HashMap::from([(worker, 0)]);
        let ready = ready(leases);
        for lease in &ready {
            let (owner, next_owner) = (lease.owner.as_deref(), lease.next_owner.as_deref());
            let is_lost = owner == Some(worker) && !holds(lease);
            let is_expired = owner != Some(worker) && observation.expired.contains(&lease.shard);
            let Some(owner) = owner.filter(|_| !is_expired) else {
                free.push(*lease);
                continue;
            };
            loads.entry(owner).or_default();
            *loads.entry(if is_lost { owner } else { next_owner.unwrap_or(owner) }).or_default() += 1;
            if is_lost || next_owner == Some(worker) && observation.overdue.contains(&lease.shard) {
                take.push(*lease);
            } else if next_owner.is_none() {
                claimable.push((owner, *lease));
            }
        }
        let own = loads[worker];
        let (part, rest) = (ready.len() / loads.len(), ready.len() % loads.len());
        let above = loads.iter().filter(|(name, load)| **name != worker && **load > part).count();
        let share = part + usize::from(above < rest);
        // Each worker has an order of its own, so that few workers try to take the same lease.
        free.sort_by_cached_key(|lease| rank(worker, lease));
        let claim = if free.is_empty() {
            let most = claimable.iter().map(|(owner, _)| loads[owner]).max().filter(|most| *most > own + 1);
            let of_most = claimable.into_iter().filter(|(owner, _)| Some(loads[owner]) == most);
            of_most.map(|(_, lease)| lease).min_by_key(|lease| rank(worker, lease))
        } else {
            None
        };
        take.extend(free.into_iter().take(share.saturating_sub(own)));
        Self { take, claim }
    }
}

/// Returns the leases that a worker may hold.
fn ready(leases: &[Lease]) -> Vec<&Lease> {
    let unread = leases.iter().filter(|lease| !lease.has_ended());
    let shards: HashSet<_> = unread.clone().map(|lease| &lease.shard).collect();
    unread.filter(|lease| !lease.parents.iter().any(|parent| shards.contains(parent))).collect()
}

/// Rank of a lease in the order of one worker.
fn rank(worker: &str, lease: &Lease) -> u64 {
    let mut hasher = DefaultHasher::new();
    (worker, &lease.shard).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::contract::Checkpoint;

    /// Leases named by their index, each with an owner and a next owner; an empty name stands for none.
    fn leases(owners: &[(&str, &str)]) -> Vec<Lease> {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let lease = |(index, (owner, next_owner)): (usize, &(&str, &str))| Lease {
            shard: index.to_string(),
            parents: Vec::new(),
            owner: name(owner),
            next_owner: name(next_owner),
            counter: 1,
            heartbeat: 1,
            checkpoint: Checkpoint::TrimHorizon,
        };
        owners.iter().enumerate().map(lease).collect()
    }

    fn observation(expired: &[&str], overdue: &[&str]) -> LeaseObservation {
        let set = |shards: &[&str]| shards.iter().map(ToString::to_string).collect();
        LeaseObservation { expired: set(expired), overdue: set(overdue) }
    }

    /// The shards that worker `me` takes and claims; it holds all leases that it owns.
    fn plan(leases: &[Lease], observation: &LeaseObservation) -> (Vec<String>, Option<String>) {
        let LeasePlan { take, claim } = LeasePlan::new(leases, observation, "me", |_| true);
        let mut take: Vec<_> = take.iter().map(|lease| lease.shard.clone()).collect();
        take.sort();
        (take, claim.map(|lease| lease.shard.clone()))
    }

    #[test]
    fn a_single_worker_takes_all_leases() {
        let all = leases(&[("", ""), ("", ""), ("", "")]);
        assert_eq!(
            plan(&all, &LeaseObservation::default()),
            (vec!["0".into(), "1".into(), "2".into()], None)
        );
    }

    #[test]
    fn a_worker_takes_no_more_than_its_share() {
        let all = leases(&[("a", ""), ("a", ""), ("", ""), ("", ""), ("", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()).0.len(), 3, "two workers share five leases");
        let all = leases(&[("a", ""), ("a", ""), ("a", ""), ("", ""), ("", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()).0.len(), 2, "the other worker has one more");
        let all = leases(&[("me", ""), ("me", ""), ("me", ""), ("", ""), ("a", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()), (vec![], None), "it has its share already");
    }

    #[test]
    fn expired_leases_are_taken_and_their_owner_does_not_count() {
        let all = leases(&[("dead", ""), ("dead", "me"), ("me", ""), ("dead", "")]);
        let observation = observation(&["0", "1", "3"], &[]);
        assert_eq!(plan(&all, &observation), (vec!["0".into(), "1".into(), "3".into()], None));
    }

    #[test]
    fn held_leases_do_not_expire_for_their_own_worker() {
        let all = leases(&[("me", ""), ("me", "")]);
        assert_eq!(plan(&all, &observation(&["0", "1"], &[])), (vec![], None));
    }

    #[test]
    fn a_lease_whose_take_lost_its_reply_is_taken_again() {
        let all = leases(&[("me", ""), ("me", "a"), ("a", "")]);
        let (observation, holds) = (LeaseObservation::default(), |_: &Lease| false);
        let plan = LeasePlan::new(&all, &observation, "me", holds);
        assert_eq!(plan, LeasePlan { take: vec![&all[0], &all[1]], claim: None });
    }

    #[test]
    fn one_lease_is_claimed_from_the_worker_with_the_most() {
        let all = leases(&[("a", ""), ("b", ""), ("b", ""), ("b", "")]);
        let (take, claim) = plan(&all, &LeaseObservation::default());
        assert!(take.is_empty() && claim.is_some_and(|claim| claim != "0"));
        let all = leases(&[("a", ""), ("a", ""), ("b", ""), ("b", ""), ("b", "me"), ("me", "")]);
        assert_eq!(
            plan(&all, &LeaseObservation::default()),
            (vec![], None),
            "a claimed lease counts for its next owner"
        );
    }

    #[test]
    fn nothing_is_claimed_for_a_difference_of_one() {
        let all = leases(&[("a", ""), ("a", ""), ("me", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()), (vec![], None));
        let all = leases(&[("a", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()), (vec![], None), "with more workers than leases");
    }

    #[test]
    fn only_the_next_owner_takes_a_lease_that_is_overdue() {
        let all = leases(&[("a", "me"), ("a", "b"), ("a", "")]);
        assert_eq!(plan(&all, &observation(&[], &["0", "1"])), (vec!["0".into()], None));
    }

    #[test]
    fn a_child_shard_waits_for_all_its_parents() {
        let mut all = leases(&[("a", ""), ("a", ""), ("", "")]);
        all[2].parents = vec!["0".into(), "1".into(), "long gone".into()];
        assert_eq!(plan(&all, &LeaseObservation::default()).0, Vec::<String>::new());
        all[0].checkpoint = Checkpoint::End;
        assert_eq!(plan(&all, &LeaseObservation::default()).0, Vec::<String>::new());
        all[1].checkpoint = Checkpoint::End;
        assert_eq!(plan(&all, &LeaseObservation::default()).0, ["2"]);
        assert_eq!(
            plan(&all[2..], &LeaseObservation::default()).0,
            ["2"],
            "a parent without a lease does not block"
        );
    }
}
