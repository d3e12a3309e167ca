//! Which leases the shards of a stream need.

use std::collections::{HashMap, HashSet};

use eventsrc_core::lease::{Checkpoint, Lease, NewLease};

use super::settings::InitialPosition;
use crate::shard::Shard;

/// The leases of shards that have none, and of which a group that never read the stream need not read anything.
///
/// They come first and by themselves: of several workers that begin at once and see different shards, the first one's word
/// is kept, and all see which it was.
pub(super) fn passed_over(shards: &[Shard], leases: &[Lease], initial: InitialPosition) -> Vec<NewLease> {
    if initial != InitialPosition::Latest || !leases.is_empty() {
        return Vec::new();
    }
    shards.iter().filter(|shard| !shard.is_open).map(|shard| new(shard, Checkpoint::End)).collect()
}

/// The leases of shards that have none; `beginning` if the group had none at all when it looked first.
pub(super) fn missing(
    shards: &[Shard],
    leases: &[Lease],
    initial: InitialPosition,
    beginning: bool,
) -> Vec<NewLease> {
    let parents: HashMap<&str, &[String]> =
        shards.iter().map(|shard| (shard.id.as_str(), shard.parents.as_slice())).collect();
    let known: HashMap<&str, &Lease> = leases.iter().map(|lease| (lease.shard.as_str(), lease)).collect();
    // What was made of a shard that is being read goes on where that one ends.
    let goes_on = |shard: &Shard| {
        let mut ancestors: Vec<&String> = shard.parents.iter().collect();
        let mut met = HashSet::new();
        while let Some(ancestor) = ancestors.pop() {
            if known.get(ancestor.as_str()).is_some_and(|lease| !lease.has_ended()) {
                return true;
            }
            if met.insert(ancestor) {
                ancestors.extend(parents.get(ancestor.as_str()).copied().unwrap_or_default());
            }
        }
        false
    };
    let missing = shards.iter().filter(|shard| !known.contains_key(shard.id.as_str()));
    missing
        .map(|shard| {
            let begins = beginning && !goes_on(shard);
            new(shard, if begins { initial.checkpoint() } else { Checkpoint::TrimHorizon })
        })
        .collect()
}

/// The shards whose leases are of no use any more: they have ended, and the stream has forgotten them.
pub(super) fn forgotten(shards: &[Shard], leases: &[Lease]) -> Vec<String> {
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

    /// `1` was split into `2` and `3`.
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
    fn a_stream_that_was_never_read_is_read_from_where_it_is_to_begin() {
        let all = checkpoints(missing(&split(), &[], InitialPosition::TrimHorizon, true));
        assert_eq!(all, ["1", "2", "3"].map(|id| (id.to_owned(), Checkpoint::TrimHorizon)));
        assert!(passed_over(&split(), &[], InitialPosition::TrimHorizon).is_empty());
    }

    #[test]
    fn whoever_begins_with_the_latest_passes_over_closed_shards() {
        let ended = passed_over(&split(), &[], InitialPosition::Latest);
        assert_eq!(checkpoints(ended), [("1".to_owned(), Checkpoint::End)]);
        let then = missing(&split(), &[lease("1", Checkpoint::End)], InitialPosition::Latest, true);
        assert_eq!(checkpoints(then), ["2", "3"].map(|id| (id.to_owned(), Checkpoint::Latest)));
    }

    #[test]
    fn of_two_who_begin_while_a_shard_is_split_neither_misses_what_comes_between() {
        // The other saw the shard before it was split, and reads it.
        let then = missing(&split(), &[lease("1", Checkpoint::Latest)], InitialPosition::Latest, true);
        assert_eq!(checkpoints(then), ["2", "3"].map(|id| (id.to_owned(), Checkpoint::TrimHorizon)));
        let deeper = [split(), vec![shard("4", &["2"], true)]].concat();
        let then = missing(&deeper, &[lease("1", Checkpoint::Latest)], InitialPosition::Latest, true);
        assert!(then.iter().all(|lease| lease.checkpoint == Checkpoint::TrimHorizon));
    }

    #[test]
    fn shards_that_come_later_are_read_from_their_first_record() {
        let known = [lease("1", Checkpoint::End), lease("2", Checkpoint::Latest)];
        assert!(passed_over(&split(), &known, InitialPosition::Latest).is_empty());
        let later = missing(&split(), &known, InitialPosition::Latest, false);
        assert_eq!(checkpoints(later), [("3".to_owned(), Checkpoint::TrimHorizon)]);
    }

    #[test]
    fn what_has_ended_and_is_gone_is_forgotten() {
        let leases =
            [lease("0", Checkpoint::End), lease("00", Checkpoint::TrimHorizon), lease("1", Checkpoint::End)];
        assert_eq!(forgotten(&split(), &leases), ["0"]);
    }
}
