//! Proofs of the rules about taken leases.

use eventsrc_core::lease::{Checkpoint, Lease, NewLease};

use super::Defect::{Renew, RenewEach, Take, TakeInTurn};
use super::{Answer, Proof, Sound, is_held};
use crate::leases::moved;

pub(crate) fn proofs() -> Vec<Proof> {
    [owners(), seen_before(), taken()].concat()
}

fn owners() -> Vec<Proof> {
    vec![
        (
            "a_free_lease_is_taken",
            "who takes one lease takes all that nobody has",
            Take(|on, lease, worker| {
                let taken = on.take(lease, worker)?;
                for free in on.all().iter().filter(|lease| lease.owner.is_none()) {
                    on.take(free, worker)?;
                }
                Ok(taken)
            }),
        ),
        (
            "an_owned_lease_is_taken_over",
            "an owner has to give it up first",
            Take(|on, lease, worker| if lease.owner.is_some() { Ok(None) } else { on.take(lease, worker) }),
        ),
        (
            "a_lease_is_taken_as_last_observed",
            "a lease is compared with what it was before its renewals",
            Take(|on, lease, worker| if lease.heartbeat > 0 { Ok(None) } else { on.take(lease, worker) }),
        ),
        ("a_worker_takes_its_own_lease_again", "a worker has what it has", Take(keeps_its_own)),
        (
            "a_missing_lease_is_not_taken",
            "a lease that is not there is made",
            Take(|on, lease, worker| {
                if on.is_there(&lease.shard) {
                    return on.take(lease, worker);
                }
                let Lease { shard, parents, checkpoint, .. } = lease.clone();
                on.create(&[NewLease { shard, parents, checkpoint }])?;
                on.take_as_it_is(lease, worker)
            }),
        ),
        ("of_16_racing_takes_one_succeeds", "it looks first, and takes later", Take(takes_later)),
        (
            "of_16_racing_takes_through_separate_handles_one_succeeds",
            "there is a lock for each handle",
            TakeInTurn(takes_later),
        ),
    ]
}

fn seen_before() -> Vec<Proof> {
    vec![
        (
            "a_lease_taken_since_is_not_taken",
            "what was free is taken by all who saw it so",
            Take(|on, lease, worker| {
                if lease.owner.is_none() { on.take_as_it_is(lease, worker) } else { on.take(lease, worker) }
            }),
        ),
        (
            "a_lease_that_returned_to_its_owner_is_not_taken",
            "owners are compared, and nothing else",
            Take(compares_owners),
        ),
        (
            "a_lease_claimed_since_is_not_taken",
            "heirs are not compared",
            Take(|on, lease, worker| {
                let next_owner = on.now(lease).next_owner;
                on.take(&Lease { next_owner, ..lease.clone() }, worker)
            }),
        ),
        (
            "a_lease_renewed_since_is_not_taken",
            "pulses are not compared",
            Take(|on, lease, worker| {
                let heartbeat = on.now(lease).heartbeat;
                on.take(&Lease { heartbeat, ..lease.clone() }, worker)
            }),
        ),
        (
            "leases_renewed_together_since_are_not_taken",
            "the first of several moves its pulse",
            Renew(|on, worker, held| {
                let (first, others) = held.split_at(held.len().min(1));
                let others = others.iter().map(|renewal| Some(on.now(&renewal.lease)));
                Ok(on.renew(worker, first)?.into_iter().chain(others).collect())
            }),
        ),
        (
            "a_lease_released_since_is_not_taken",
            "what nobody has is taken however it was seen",
            Take(|on, lease, worker| {
                let is_free = on.now(lease).owner.is_none();
                if is_free { on.take_as_it_is(lease, worker) } else { on.take(lease, worker) }
            }),
        ),
        (
            "a_lease_that_is_free_again_is_not_taken",
            "owners are compared, and nothing else",
            Take(compares_owners),
        ),
        (
            "of_a_racing_renewal_and_take_one_succeeds",
            "it looks first, and renews later",
            RenewEach(|on, worker, renewal| {
                let lease = &renewal.lease;
                if is_held(&on.before(lease), worker, lease) {
                    on.renew_as_it_is(renewal)
                } else {
                    on.renew_one(worker, renewal)
                }
            }),
        ),
    ]
}

fn taken() -> Vec<Proof> {
    vec![
        ("a_taken_lease_has_a_new_counter", "a worker has what it has", Take(keeps_its_own)),
        (
            "a_taken_lease_has_no_next_owner",
            "heirs stay",
            Take(|on, lease, worker| {
                let next_owner = on.now(lease).next_owner;
                let Some(taken) = on.take(lease, worker)? else { return Ok(None) };
                if let Some(next_owner) = next_owner {
                    on.claim(&taken, &next_owner)?;
                }
                Ok(Some(on.now(&taken)))
            }),
        ),
        (
            "a_taken_lease_keeps_its_checkpoint",
            "who takes over begins with the oldest record",
            Take(|on, lease, worker| match on.take(lease, worker)? {
                Some(taken) if lease.owner.is_some() => {
                    on.renew_one(worker, &moved(&taken, Checkpoint::TrimHorizon))
                }
                taken => Ok(taken),
            }),
        ),
        (
            "a_repeated_take_returns_the_lease",
            "a take meets itself, and gives nothing",
            Take(|on, lease, worker| if on.now(lease) == *lease { on.take(lease, worker) } else { Ok(None) }),
        ),
        (
            "a_repeated_take_of_a_lost_lease_returns_none",
            "a take made again is not compared",
            Take(|on, lease, worker| {
                let is_first = on.notes(format!("{worker} takes {lease:?}"));
                if is_first { on.take(lease, worker) } else { on.take_as_it_is(lease, worker) }
            }),
        ),
    ]
}

fn takes_later(on: &Sound<'_>, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
    if on.before(lease) == *lease { on.take_as_it_is(lease, worker) } else { on.take(lease, worker) }
}

fn compares_owners(on: &Sound<'_>, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
    let is_same = on.now(lease).owner == lease.owner;
    if is_same { on.take_as_it_is(lease, worker) } else { on.take(lease, worker) }
}

fn keeps_its_own(on: &Sound<'_>, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
    let has_it = on.now(lease) == *lease && lease.owner.as_deref() == Some(worker);
    if has_it { Ok(Some(lease.clone())) } else { on.take(lease, worker) }
}
