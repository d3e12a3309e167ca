//! Discovery of shards: the leases to create and to remove.

use std::collections::{HashMap, HashSet};

use eventsrc_core::lease::{Checkpoint, Lease, NewLease};

use super::settings::InitialPosition;
use crate::shard::Shard;

/// Leases of closed shards that a new group with [`InitialPosition::Latest`] does not read.
///
/// They are created before all others, in a step of their own. If several workers start at once and see different shards,
/// the lease of the first one is kept, and all workers see it.
pub(super) fn skipped_leases(shards: &[Shard], leases: &[Lease], initial: InitialPosition) -> Vec<NewLease> {
    if initial != InitialPosition::Latest || !leases.is_empty() {
        return Vec::new();
    }
    shards.iter().filter(|shard| !shard.is_open).map(|shard| new(shard, Checkpoint::End)).collect()
}

/// Leases to create for shards that have none. `is_new_group` is true if the group had no lease before this discovery.
pub(super) fn missing_leases(
    shards: &[Shard],
    leases: &[Lease],
    initial: InitialPosition,
    is_new_group: bool,
) -> Vec<NewLease> {
    let parents: HashMap<&str, &[String]> =
        shards.iter().map(|shard| (shard.id.as_str(), shard.parents.as_slice())).collect();
    let known: HashMap<&str, &Lease> = leases.iter().map(|lease| (lease.shard.as_str(), lease)).collect();
    // A descendant of a shard that the group still reads begins with its first record.
    let continues_a_known_shard = |shard: &Shard| {
        let mut ancestors: Vec<&String> = shard.parents.iter().collect();
        let mut visited = HashSet::new();
        while let Some(ancestor) = ancestors.pop() {
            if known.get(ancestor.as_str()).is_some_and(|lease| !lease.has_ended()) {
                return true;
            }
            if visited.insert(ancestor) {
                ancestors.extend(parents.get(ancestor.as_str()).copied().unwrap_or_default());
            }
        }
        false
    };
    let missing = shards.iter().filter(|shard| !known.contains_key(shard.id.as_str()));
    missing
        .map(|shard| {
            let is_first = is_new_group && !continues_a_known_shard(shard);
            new(shard, if is_first { initial.checkpoint() } else { Checkpoint::TrimHorizon })
        })
        .collect()
}

/// Shards whose leases can be removed: they have ended, and the stream no longer lists them.
pub(super) fn obsolete_leases(shards: &[Shard], leases: &[Lease]) -> Vec<String> {
    let known: HashSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    let gone = leases.iter().filter(|lease| lease.has_ended() && !known.contains(lease.shard.as_str()));
    gone.map(|lease| lease.shard.clone()).collect()
}

fn new(shard: &Shard, checkpoint: Checkpoint) -> NewLease {
    NewLease { shard: shard.id.clone(), parents: shard.parents.clone(), checkpoint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str], is_open: bool) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|&parent| parent.into()).collect(), is_open }
    }

    /// Shard `1`, which was split into `2` and `3`.
    fn split() -> Vec<Shard> {
        vec![shard("1", &[], false), shard("2", &["1"], true), shard("3", &["1"], true)]
    }

    fn lease(shard: &str, checkpoint: Checkpoint) -> Lease {
        Lease {
            shard: shard.into(),
            parents: Vec::new(),
            owner: None,
            next_owner: None,
            counter: 0,
            heartbeat: 0,
            checkpoint,
        }
    }

    fn checkpoints(leases: Vec<NewLease>) -> Vec<(String, Checkpoint)> {
        leases.into_iter().map(|lease| (lease.shard, lease.checkpoint)).collect()
    }

    #[test]
    fn a_new_group_reads_all_shards_from_the_initial_position() {
        let all = checkpoints(missing_leases(&split(), &[], InitialPosition::TrimHorizon, true));
        assert_eq!(all, ["1", "2", "3"].map(|id| (id.to_owned(), Checkpoint::TrimHorizon)));
        assert!(skipped_leases(&split(), &[], InitialPosition::TrimHorizon).is_empty());
    }

    #[test]
    fn a_new_group_at_latest_skips_closed_shards() {
        let ended = skipped_leases(&split(), &[], InitialPosition::Latest);
        assert_eq!(checkpoints(ended), [("1".to_owned(), Checkpoint::End)]);
        let then = missing_leases(&split(), &[lease("1", Checkpoint::End)], InitialPosition::Latest, true);
        assert_eq!(checkpoints(then), ["2", "3"].map(|id| (id.to_owned(), Checkpoint::Latest)));
    }

    #[test]
    fn workers_that_start_during_a_split_miss_no_record() {
        // The other worker saw the shard before the split, and reads it.
        let then = missing_leases(&split(), &[lease("1", Checkpoint::Latest)], InitialPosition::Latest, true);
        assert_eq!(checkpoints(then), ["2", "3"].map(|id| (id.to_owned(), Checkpoint::TrimHorizon)));
        let deeper = [split(), vec![shard("4", &["2"], true)]].concat();
        let then = missing_leases(&deeper, &[lease("1", Checkpoint::Latest)], InitialPosition::Latest, true);
        assert!(then.iter().all(|lease| lease.checkpoint == Checkpoint::TrimHorizon));
    }

    #[test]
    fn later_shards_are_read_from_their_first_record() {
        let known = [lease("1", Checkpoint::End), lease("2", Checkpoint::Latest)];
        assert!(skipped_leases(&split(), &known, InitialPosition::Latest).is_empty());
        let later = missing_leases(&split(), &known, InitialPosition::Latest, false);
        assert_eq!(checkpoints(later), [("3".to_owned(), Checkpoint::TrimHorizon)]);
    }

    #[test]
    fn the_lease_of_an_ended_and_deleted_shard_is_removed() {
        let leases =
            [lease("0", Checkpoint::End), lease("00", Checkpoint::TrimHorizon), lease("1", Checkpoint::End)];
        assert_eq!(obsolete_leases(&split(), &leases), ["0"]);
    }
}
