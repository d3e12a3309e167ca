//! Proofs of the rules about created, listed and removed leases.

use eventsrc_core::lease::NewLease;
use eventsrc_core::{ErrorKind, StorageError};

use super::Defect::{Create, Leases, Remove};
use super::Proof;

pub(crate) fn proofs() -> Vec<Proof> {
    [made(), listed(), forgotten()].concat()
}

fn made() -> Vec<Proof> {
    vec![
        (
            "a_created_lease_is_as_requested",
            "a lease has one parent at most",
            Create(|on, new| {
                let mut new = new.to_vec();
                new.iter_mut().for_each(|new| new.parents.truncate(1));
                on.create(&new)
            }),
        ),
        (
            "an_existing_lease_is_left_unchanged",
            "a lease that ended is made anew",
            Create(|on, new| {
                on.remove(&shards(new))?;
                on.create(new)
            }),
        ),
        (
            "missing_leases_are_created_next_to_existing_ones",
            "none is made if one of them is there",
            Create(
                |on, new| {
                    if new.iter().any(|new| on.is_there(&new.shard)) { Ok(()) } else { on.create(new) }
                },
            ),
        ),
        (
            "a_shard_named_twice_has_one_lease",
            "the last one of a shard counts",
            Create(|on, new| on.create(&new.iter().rev().cloned().collect::<Vec<_>>())),
        ),
        (
            "an_empty_list_may_be_created",
            "to create nothing is an error",
            Create(|on, new| if new.is_empty() { Err(invalid("no rows")) } else { on.create(new) }),
        ),
        (
            "concurrent_creates_of_the_same_leases_succeed",
            "it looks which are missing, and makes them later",
            Create(|on, new| {
                if new.iter().any(|new| on.is_there(&new.shard) && !on.was_there(&new.shard)) {
                    return Err(invalid("duplicate key"));
                }
                on.create(new)
            }),
        ),
    ]
}

fn listed() -> Vec<Proof> {
    vec![
        (
            "a_new_store_has_no_leases",
            "there is no table before the first lease",
            Leases(|on| match on.all() {
                all if all.is_empty() => Err(invalid("no such table")),
                all => Ok(all),
            }),
        ),
        (
            "leases_are_sorted_by_shard",
            "upper and lower case are sorted as one",
            Leases(|on| {
                let mut all = on.all();
                all.sort_by_key(|lease| lease.shard.to_lowercase());
                Ok(all)
            }),
        ),
        (
            "any_number_of_leases_are_listed",
            "the first page is listed",
            Leases(|on| {
                let mut all = on.all();
                all.truncate(256);
                Ok(all)
            }),
        ),
    ]
}

fn forgotten() -> Vec<Proof> {
    vec![
        ("an_ended_lease_is_removed", "nothing is forgotten", Remove(|_, _| Ok(()))),
        (
            "a_lease_that_has_not_ended_is_not_removed",
            "a lease that nobody has is forgotten",
            Remove(|on, shards| {
                let named = on.all().into_iter().filter(|lease| shards.contains(&lease.shard));
                named.filter(|lease| lease.owner.is_none()).try_for_each(|lease| on.forget(&lease))
            }),
        ),
        (
            "an_ended_lease_remains_until_it_is_removed",
            "whatever ended is forgotten",
            Remove(|on, _| on.remove(&on.all().into_iter().map(|lease| lease.shard).collect::<Vec<_>>())),
        ),
        (
            "concurrent_removals_of_the_same_leases_succeed",
            "it looks which are there, and forgets them later",
            Remove(|on, shards| {
                if shards.iter().any(|shard| on.was_there(shard) && !on.is_there(shard)) {
                    return Err(invalid("no such row"));
                }
                on.remove(shards)
            }),
        ),
        (
            "a_removed_lease_can_be_created_again",
            "a shard has one lease, ever",
            Create(|on, new| {
                let first = |new: &&NewLease| on.notes(new.shard.clone());
                on.create(&new.iter().filter(first).cloned().collect::<Vec<_>>())
            }),
        ),
    ]
}

fn shards(new: &[NewLease]) -> Vec<String> {
    new.iter().map(|new| new.shard.clone()).collect()
}

fn invalid(message: &str) -> StorageError {
    StorageError::new(ErrorKind::Invalid, message)
}
