//! Proofs of the rules about claims.

use eventsrc_core::lease::Checkpoint;
use eventsrc_core::{ErrorKind, StorageError};

use super::Defect::{Claim, RenewEach};
use super::Proof;
use crate::leases::unmoved;

pub(crate) fn proofs() -> Vec<Proof> {
    vec![
        (
            "a_claim_sets_the_next_owner_and_changes_nothing_else",
            "a claim moves the pulse",
            Claim(|on, lease, worker| {
                let claimed = on.claim(lease, worker)?;
                on.renew_as_it_is(&unmoved(lease))?;
                Ok(claimed)
            }),
        ),
        (
            "the_owner_of_a_claimed_lease_continues",
            "a renewal forgets the heir",
            RenewEach(|on, worker, renewal| {
                let Some(renewed) = on.renew_one(worker, renewal)? else { return Ok(None) };
                on.forget_heir(&renewed)?;
                Ok(Some(on.now(&renewed)))
            }),
        ),
        (
            "a_lease_renewed_since_is_claimed",
            "a claim compares all that it saw",
            Claim(|on, lease, worker| Ok(on.now(lease) == *lease && on.claim(lease, worker)?)),
        ),
        (
            "a_lease_with_a_next_owner_is_not_claimed",
            "the last who claims is the heir",
            Claim(|on, lease, worker| {
                if on.now(lease).owner == lease.owner {
                    on.forget_heir(lease)?;
                }
                on.claim(lease, worker)
            }),
        ),
        (
            "a_lease_of_another_owner_is_not_claimed",
            "the owner is not compared",
            Claim(|on, lease, worker| on.claim(&on.now(lease), worker)),
        ),
        (
            "a_free_lease_is_not_claimed",
            "who claims what nobody has takes it",
            Claim(|on, lease, worker| {
                if on.now(lease).owner.is_some() {
                    return on.claim(lease, worker);
                }
                Ok(on.take_as_it_is(lease, worker)?.is_some())
            }),
        ),
        (
            "a_missing_lease_is_not_claimed",
            "a claim of what is not there is an error",
            Claim(|on, lease, worker| {
                if on.is_there(&lease.shard) {
                    return on.claim(lease, worker);
                }
                Err(StorageError::new(ErrorKind::Invalid, "no such row"))
            }),
        ),
        (
            "a_repeated_claim_succeeds",
            "a claim meets itself, and is refused",
            Claim(|on, lease, worker| Ok(on.now(lease).next_owner.is_none() && on.claim(lease, worker)?)),
        ),
        (
            "of_16_racing_claims_one_succeeds",
            "it looks first, and claims later",
            Claim(|on, lease, worker| Ok(on.claim(lease, worker)? || on.before(lease).next_owner.is_none())),
        ),
        (
            "an_ended_shard_is_not_claimed",
            "who claims what ended takes it, from its beginning",
            Claim(|on, lease, worker| {
                if !on.now(lease).has_ended() {
                    return on.claim(lease, worker);
                }
                on.begin_anew(lease, Checkpoint::TrimHorizon)?;
                Ok(on.take_as_it_is(lease, worker)?.is_some())
            }),
        ),
    ]
}
