//! Who takes which lease, decided by each worker for itself.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::contract::Lease;
use super::watch::LeaseObservation;

/// What a worker does next, given all leases as it sees them.
///
/// The leases that are ready, which have not ended themselves and whose parents have, or are not there any more, are shared
/// by this worker and those that own a lease which has not expired, or are its heir. All have an equal share, and as many as it
/// takes one more. Each worker decides for itself, and whatever the order in which they do, they come to rest: every lease that
/// is ready has an owner, and no worker has two more than another.
///
/// A worker that holds nothing is not known to the others. So in a fleet that begins, the first may take much of what
/// others claim from it later; a caller that minds takes only the first of [`take`](Self::take) at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePlan<'a> {
    /// What to take, in this order: leases that nobody has, whose owners are to be taken for dead, that were claimed and not
    /// handed over in time, and that this worker owns without knowing, because the answer was lost when it took them.
    pub take: Vec<&'a Lease>,
    /// What to claim. It is one at a time, so that few leases move.
    pub claim: Option<&'a Lease>,
}

impl<'a> LeasePlan<'a> {
    /// The plan of `worker`, which holds those of the leases of which `holds` is true.
    pub fn new(
        leases: &'a [Lease],
        sighting: &LeaseObservation,
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
            let is_expired = owner != Some(worker) && sighting.expired.contains(&lease.shard);
            let Some(owner) = owner.filter(|_| !is_expired) else {
                free.push(*lease);
                continue;
            };
            loads.entry(owner).or_default();
            *loads.entry(if is_lost { owner } else { next_owner.unwrap_or(owner) }).or_default() += 1;
            if is_lost || next_owner == Some(worker) && sighting.overdue.contains(&lease.shard) {
                take.push(*lease);
            } else if next_owner.is_none() {
                claimable.push((owner, *lease));
            }
        }
        let own = loads[worker];
        let (part, rest) = (ready.len() / loads.len(), ready.len() % loads.len());
        let above = loads.iter().filter(|(name, load)| **name != worker && **load > part).count();
        let share = part + usize::from(above < rest);
        // Workers begin at different ends, so that few try to take the same one.
        free.sort_by_cached_key(|lease| end_of(worker, lease));
        let claim = if free.is_empty() {
            let most = claimable.iter().map(|(owner, _)| loads[owner]).max().filter(|most| *most > own + 1);
            let of_most = claimable.into_iter().filter(|(owner, _)| Some(loads[owner]) == most);
            of_most.map(|(_, lease)| lease).min_by_key(|lease| end_of(worker, lease))
        } else {
            None
        };
        take.extend(free.into_iter().take(share.saturating_sub(own)));
        Self { take, claim }
    }
}

/// The leases that may be held.
fn ready(leases: &[Lease]) -> Vec<&Lease> {
    let unread = leases.iter().filter(|lease| !lease.has_ended());
    let shards: HashSet<_> = unread.clone().map(|lease| &lease.shard).collect();
    unread.filter(|lease| !lease.parents.iter().any(|parent| shards.contains(parent))).collect()
}

fn end_of(worker: &str, lease: &Lease) -> u64 {
    let mut hasher = DefaultHasher::new();
    (worker, &lease.shard).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::contract::Checkpoint;

    /// Leases called after their place, each with an owner and an heir, which may be nobody.
    fn leases(owners: &[(&str, &str)]) -> Vec<Lease> {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let lease = |(place, (owner, next_owner)): (usize, &(&str, &str))| Lease {
            shard: place.to_string(),
            parents: Vec::new(),
            owner: name(owner),
            next_owner: name(next_owner),
            counter: 1,
            heartbeat: 1,
            checkpoint: Checkpoint::TrimHorizon,
        };
        owners.iter().enumerate().map(lease).collect()
    }

    fn sighting(expired: &[&str], overdue: &[&str]) -> LeaseObservation {
        let set = |shards: &[&str]| shards.iter().map(ToString::to_string).collect();
        LeaseObservation { expired: set(expired), overdue: set(overdue) }
    }

    /// What `me` is to take and to claim; it holds all that it owns.
    fn plan(leases: &[Lease], sighting: &LeaseObservation) -> (Vec<String>, Option<String>) {
        let LeasePlan { take, claim } = LeasePlan::new(leases, sighting, "me", |_| true);
        let mut take: Vec<_> = take.iter().map(|lease| lease.shard.clone()).collect();
        take.sort();
        (take, claim.map(|lease| lease.shard.clone()))
    }

    #[test]
    fn a_worker_that_is_alone_takes_everything() {
        let all = leases(&[("", ""), ("", ""), ("", "")]);
        assert_eq!(
            plan(&all, &LeaseObservation::default()),
            (vec!["0".into(), "1".into(), "2".into()], None)
        );
    }

    #[test]
    fn no_more_is_taken_than_a_share() {
        let all = leases(&[("a", ""), ("a", ""), ("", ""), ("", ""), ("", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()).0.len(), 3, "five for two");
        let all = leases(&[("a", ""), ("a", ""), ("a", ""), ("", ""), ("", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()).0.len(), 2, "the other one has one more");
        let all = leases(&[("me", ""), ("me", ""), ("me", ""), ("", ""), ("a", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()), (vec![], None), "it has its share");
    }

    #[test]
    fn what_expired_is_taken_and_its_owner_does_not_count() {
        let all = leases(&[("dead", ""), ("dead", "me"), ("me", ""), ("dead", "")]);
        let sighting = sighting(&["0", "1", "3"], &[]);
        assert_eq!(plan(&all, &sighting), (vec!["0".into(), "1".into(), "3".into()], None));
    }

    #[test]
    fn what_it_holds_itself_does_not_expire() {
        let all = leases(&[("me", ""), ("me", "")]);
        assert_eq!(plan(&all, &sighting(&["0", "1"], &[])), (vec![], None));
    }

    #[test]
    fn what_it_owns_without_knowing_is_taken_again() {
        let all = leases(&[("me", ""), ("me", "a"), ("a", "")]);
        let (everything, nothing) = (LeaseObservation::default(), |_: &Lease| false);
        let plan = LeasePlan::new(&all, &everything, "me", nothing);
        assert_eq!(plan, LeasePlan { take: vec![&all[0], &all[1]], claim: None });
    }

    #[test]
    fn one_is_claimed_from_who_holds_the_most() {
        let all = leases(&[("a", ""), ("b", ""), ("b", ""), ("b", "")]);
        let (take, claim) = plan(&all, &LeaseObservation::default());
        assert!(take.is_empty() && claim.is_some_and(|claim| claim != "0"));
        let all = leases(&[("a", ""), ("a", ""), ("b", ""), ("b", ""), ("b", "me"), ("me", "")]);
        assert_eq!(
            plan(&all, &LeaseObservation::default()),
            (vec![], None),
            "what is claimed counts for the heir"
        );
    }

    #[test]
    fn nothing_is_claimed_for_a_difference_of_one() {
        let all = leases(&[("a", ""), ("a", ""), ("me", "")]);
        assert_eq!(plan(&all, &LeaseObservation::default()), (vec![], None));
        let all = leases(&[("a", "")]);
        assert_eq!(
            plan(&all, &LeaseObservation::default()),
            (vec![], None),
            "there are more workers than leases"
        );
    }

    #[test]
    fn a_claim_that_was_not_honoured_in_time_is_taken_by_its_heir_alone() {
        let all = leases(&[("a", "me"), ("a", "b"), ("a", "")]);
        assert_eq!(plan(&all, &sighting(&[], &["0", "1"])), (vec!["0".into()], None));
    }

    #[test]
    fn children_wait_for_all_their_parents() {
        let mut all = leases(&[("a", ""), ("a", ""), ("", "")]);
        all[2].parents = vec!["0".into(), "1".into(), "long gone".into()];
        assert_eq!(plan(&all, &LeaseObservation::default()).0, Vec::<String>::new());
        all[0].checkpoint = Checkpoint::End;
        assert_eq!(plan(&all, &LeaseObservation::default()).0, Vec::<String>::new());
        all[1].checkpoint = Checkpoint::End;
        assert_eq!(plan(&all, &LeaseObservation::default()).0, ["2"]);
        assert_eq!(plan(&all[2..], &LeaseObservation::default()).0, ["2"], "or until they are forgotten");
    }
}
