//! Proofs of the rules about released and ended leases.

use eventsrc_core::lease::{Checkpoint, Lease, Renewal};

use super::Defect::{Claim, Release, Take};
use super::{Answer, Proof, Sound};
use crate::leases::{moved, unmoved};

pub(crate) fn proofs() -> Vec<Proof> {
    [given_up(), kept(), not_held(), ended()].concat()
}

fn given_up() -> Vec<Proof> {
    vec![
        (
            "a_released_lease_has_no_owner",
            "a release moves the checkpoint only",
            Release(|on, worker, renewal| Ok(on.renew_one(worker, renewal)?.is_some())),
        ),
        (
            "a_released_lease_goes_to_its_next_owner",
            "heirs get nothing",
            Release(|on, worker, renewal| on.release_to_nobody(worker, renewal)),
        ),
        (
            "a_lease_with_an_unseen_claim_goes_to_its_next_owner",
            "it goes to the heir whom the owner knows",
            Release(|on, worker, renewal| match renewal.lease.next_owner {
                None => on.release_to_nobody(worker, renewal),
                Some(_) => on.release(worker, renewal),
            }),
        ),
        (
            "a_lease_changes_owners_any_number_of_times",
            "a worker claims a lease once",
            Claim(|on, lease, worker| {
                Ok(on.notes(format!("{worker} claims {}", lease.shard)) && on.claim(lease, worker)?)
            }),
        ),
        (
            "a_lease_is_released_after_a_lost_renewal",
            "a lease is released as it was seen last",
            Release(|on, worker, renewal| {
                let is_as_seen = on.now(&renewal.lease).heartbeat == renewal.lease.heartbeat;
                Ok(is_as_seen && on.release(worker, renewal)?)
            }),
        ),
    ]
}

fn kept() -> Vec<Proof> {
    vec![
        (
            "a_release_stores_the_new_checkpoint",
            "checkpoints that are after no record are not kept",
            Release(|on, worker, renewal| {
                let is_kept = |new: &Checkpoint| matches!(new, Checkpoint::After(_) | Checkpoint::End);
                let checkpoint = renewal.checkpoint.clone().filter(is_kept);
                on.release(worker, &Renewal { checkpoint, ..renewal.clone() })
            }),
        ),
        (
            "a_release_without_a_checkpoint_keeps_the_old_one",
            "without one, the oldest record is next",
            Release(|on, worker, renewal| match renewal.checkpoint {
                None => on.release(worker, &moved(&renewal.lease, Checkpoint::TrimHorizon)),
                Some(_) => on.release(worker, renewal),
            }),
        ),
        (
            "a_release_changes_no_other_lease",
            "a worker gives up all that it has",
            Release(|on, worker, renewal| {
                let released = on.release(worker, renewal)?;
                for other in on.all().iter().filter(|lease| lease.owner.as_deref() == Some(worker)) {
                    on.release(worker, &unmoved(other))?;
                }
                Ok(released)
            }),
        ),
    ]
}

fn not_held() -> Vec<Proof> {
    vec![
        (
            "a_lease_taken_over_is_not_released",
            "a checkpoint is kept whoever has the lease",
            Release(|on, worker, renewal| {
                let released = on.release(worker, renewal)?;
                if !released {
                    on.renew_as_it_is(renewal)?;
                }
                Ok(released)
            }),
        ),
        (
            "a_lease_is_released_once",
            "what nobody has was released",
            Release(|on, worker, renewal| {
                Ok(on.release(worker, renewal)? || on.now(&renewal.lease).owner.is_none())
            }),
        ),
        (
            "a_lease_of_another_worker_is_not_released",
            "who knows a lease may release it",
            Release(|on, worker, renewal| {
                on.release(renewal.lease.owner.as_deref().unwrap_or(worker), renewal)
            }),
        ),
    ]
}

fn ended() -> Vec<Proof> {
    vec![
        ("a_shard_ended_by_release_has_no_owner", "a release does not bring an end", Release(without_an_end)),
        (
            "an_ended_shard_has_no_next_owner",
            "an heir gets what did not end yet",
            Release(|on, worker, renewal| match on.now(&renewal.lease) {
                Lease { next_owner: Some(_), .. } => without_an_end(on, worker, renewal),
                _ => on.release(worker, renewal),
            }),
        ),
        (
            "an_ended_shard_is_not_taken",
            "who takes what ended begins with the oldest record",
            Take(|on, lease, worker| {
                if !on.now(lease).has_ended() {
                    return on.take(lease, worker);
                }
                on.begin_anew(lease, Checkpoint::TrimHorizon)?;
                on.take_as_it_is(lease, worker)
            }),
        ),
    ]
}

fn without_an_end(on: &Sound<'_>, worker: &str, renewal: &Renewal) -> Answer<bool> {
    let checkpoint = renewal.checkpoint.clone().filter(|new| *new != Checkpoint::End);
    on.release(worker, &Renewal { checkpoint, ..renewal.clone() })
}
