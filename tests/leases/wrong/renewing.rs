//! Proofs of the rules about renewals.

use eventsrc_core::lease::{Checkpoint, Renewal, ShardPosition};
use eventsrc_core::{ErrorKind, StorageError};

use super::Defect::{Renew, RenewEach};
use super::{Proof, is_held};

pub(crate) fn proofs() -> Vec<Proof> {
    [held(), several(), lost(), made_again(), ended()].concat()
}

fn held() -> Vec<Proof> {
    vec![
        (
            "a_renewal_changes_the_heartbeat",
            "a renewal without a new checkpoint is not written",
            RenewEach(|on, worker, renewal| match renewal.checkpoint {
                None => Ok(Some(on.now(&renewal.lease))),
                Some(_) => on.renew_one(worker, renewal),
            }),
        ),
        (
            "a_renewal_keeps_the_lease",
            "a lease is renewed three times at most",
            RenewEach(|on, worker, renewal| {
                if on.now(&renewal.lease).heartbeat == 3 { Ok(None) } else { on.renew_one(worker, renewal) }
            }),
        ),
        (
            "a_renewal_stores_the_new_checkpoint",
            "parts of records are not kept",
            RenewEach(|on, worker, renewal| {
                let checkpoint = match renewal.checkpoint.clone() {
                    Some(Checkpoint::After(place)) => {
                        Some(Checkpoint::After(ShardPosition { part: 0, ..place }))
                    }
                    other => other,
                };
                on.renew_one(worker, &Renewal { checkpoint, ..renewal.clone() })
            }),
        ),
    ]
}

fn several() -> Vec<Proof> {
    vec![
        (
            "a_renewal_changes_the_heartbeat_of_all_held_leases",
            "of several, those with new checkpoints are written",
            RenewEach(|on, worker, renewal| match renewal.checkpoint {
                None if on.all().len() > 1 => Ok(Some(on.now(&renewal.lease))),
                _ => on.renew_one(worker, renewal),
            }),
        ),
        (
            "each_lease_keeps_its_own_checkpoint",
            "all have the last checkpoint",
            Renew(|on, worker, held| {
                let last = held.last().and_then(|renewal| renewal.checkpoint.clone());
                let same = |renewal: &Renewal| Renewal { checkpoint: last.clone(), ..renewal.clone() };
                on.renew(worker, &held.iter().map(same).collect::<Vec<_>>())
            }),
        ),
        (
            "renewed_leases_are_in_the_order_of_the_request",
            "they are in the order of their shards",
            Renew(|on, worker, held| {
                let mut held = held.to_vec();
                held.sort_by(|one, other| one.lease.shard.cmp(&other.lease.shard));
                on.renew(worker, &held)
            }),
        ),
        (
            "any_number_of_leases_are_renewed",
            "the first 25 are renewed",
            Renew(|on, worker, held| on.renew(worker, &held[..held.len().min(25)])),
        ),
        (
            "held_leases_are_renewed_next_to_lost_ones",
            "all are renewed, or none",
            Renew(|on, worker, held| {
                let is_held = |Renewal { lease, .. }: &Renewal| is_held(&on.now(lease), worker, lease);
                if held.iter().all(is_held) { on.renew(worker, held) } else { Ok(vec![None; held.len()]) }
            }),
        ),
        (
            "a_worker_without_leases_renews",
            "to renew nothing is an error",
            Renew(|on, worker, held| match held {
                [] => Err(StorageError::new(ErrorKind::Invalid, "no rows")),
                held => on.renew(worker, held),
            }),
        ),
    ]
}

fn lost() -> Vec<Proof> {
    vec![
        (
            "a_lease_taken_over_is_returned_as_none",
            "a checkpoint is kept whoever has the lease",
            RenewEach(|on, worker, renewal| {
                let renewed = on.renew_one(worker, renewal)?;
                if renewed.is_none() && renewal.checkpoint.is_some() {
                    on.renew_as_it_is(renewal)?;
                }
                Ok(renewed)
            }),
        ),
        (
            "a_lease_taken_back_is_renewed",
            "owners are compared, not counters",
            RenewEach(|on, worker, renewal| {
                let is_own = on.now(&renewal.lease).owner.as_deref() == Some(worker);
                if is_own { on.renew_as_it_is(renewal) } else { on.renew_one(worker, renewal) }
            }),
        ),
        (
            "a_released_lease_is_returned_as_none",
            "who renews what nobody has takes it",
            RenewEach(|on, worker, renewal| {
                if on.now(&renewal.lease).owner.is_none() {
                    on.take_as_it_is(&renewal.lease, worker)?;
                    return on.renew_as_it_is(renewal);
                }
                on.renew_one(worker, renewal)
            }),
        ),
        (
            "a_lease_of_another_worker_is_returned_as_none",
            "who knows a lease may renew it",
            RenewEach(|on, worker, renewal| {
                on.renew_one(renewal.lease.owner.as_deref().unwrap_or(worker), renewal)
            }),
        ),
        (
            "a_missing_lease_is_returned_as_none",
            "a lease that is not there is left out",
            Renew(|on, worker, held| {
                let there = held.iter().filter(|renewal| on.is_there(&renewal.lease.shard));
                on.renew(worker, &there.cloned().collect::<Vec<_>>())
            }),
        ),
    ]
}

fn made_again() -> Vec<Proof> {
    vec![
        (
            "a_repeated_renewal_renews",
            "a lease is renewed as it was seen last",
            RenewEach(|on, worker, renewal| {
                let is_as_seen = on.now(&renewal.lease).heartbeat == renewal.lease.heartbeat;
                if is_as_seen { on.renew_one(worker, renewal) } else { Ok(None) }
            }),
        ),
        (
            "a_repeated_renewal_keeps_its_checkpoint",
            "a checkpoint is kept if it is another one",
            RenewEach(|on, worker, renewal| {
                let is_there = renewal.checkpoint.as_ref() == Some(&on.now(&renewal.lease).checkpoint);
                if is_there { Ok(None) } else { on.renew_one(worker, renewal) }
            }),
        ),
        (
            "a_repeated_renewal_stores_a_later_checkpoint",
            "a renewal made again changes nothing",
            RenewEach(|on, worker, renewal| match on.now(&renewal.lease) {
                now if is_held(&now, worker, &renewal.lease) && now.heartbeat != renewal.lease.heartbeat => {
                    Ok(Some(now))
                }
                _ => on.renew_one(worker, renewal),
            }),
        ),
        (
            "a_repeated_end_is_returned",
            "nobody is given what ended",
            RenewEach(|on, worker, renewal| {
                if on.now(&renewal.lease).has_ended() { Ok(None) } else { on.renew_one(worker, renewal) }
            }),
        ),
    ]
}

fn ended() -> Vec<Proof> {
    vec![
        (
            "a_shard_ended_by_renewal_has_no_owner",
            "a renewal does not bring an end",
            RenewEach(|on, worker, renewal| {
                let checkpoint = renewal.checkpoint.clone().filter(|new| *new != Checkpoint::End);
                on.renew_one(worker, &Renewal { checkpoint, ..renewal.clone() })
            }),
        ),
        (
            "an_ended_shard_keeps_its_checkpoint",
            "what ended begins again where a renewal says",
            RenewEach(|on, worker, renewal| {
                let renewed = on.renew_one(worker, renewal)?;
                if let (None, true, Some(checkpoint)) =
                    (&renewed, on.now(&renewal.lease).has_ended(), &renewal.checkpoint)
                {
                    on.begin_anew(&renewal.lease, checkpoint.clone())?;
                }
                Ok(renewed)
            }),
        ),
    ]
}
