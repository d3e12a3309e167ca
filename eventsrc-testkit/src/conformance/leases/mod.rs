//! The contract of lease stores: its sentences, and the rules that check each.

use std::sync::Arc;

use super::report::Report;
use super::rule::{Rule, rules};
use super::suite::Suite;

mod backend;
mod claiming;
mod creating;
mod ending;
mod releasing;
mod renewing;
mod taking;
mod trial;
mod visibility;

pub use backend::LeaseBackend;
use trial::LeaseTrial;

/// Checks a lease store against the contract of [`LeaseStore`](eventsrc_core::lease::LeaseStore).
pub async fn leases<B: LeaseBackend>(backend: &Arc<B>) -> Report {
    lease_suite().run(backend).await
}

/// Returns the rules of [`LeaseStore`](eventsrc_core::lease::LeaseStore).
pub fn lease_suite<B: LeaseBackend>() -> Suite<B> {
    let mut rules = taking_rules();
    rules.extend(holding_rules());
    Suite::new(rules)
}

fn taking_rules<B: LeaseBackend>() -> Vec<Rule<B>> {
    rules! { LeaseTrial;
        "A shard has at most one lease, and `create` does not change leases that exist." => creating [
            a_created_lease_is_as_requested,
            an_existing_lease_is_left_unchanged,
            missing_leases_are_created_next_to_existing_ones,
            a_shard_named_twice_has_one_lease,
            an_empty_list_may_be_created,
            concurrent_creates_of_the_same_leases_succeed,
        ];
        "`leases` returns every lease once, sorted by shard." => creating [
            a_new_store_has_no_leases,
            leases_are_sorted_by_shard,
            any_number_of_leases_are_listed,
        ];
        "`take` makes the worker the owner if the lease has not changed since it was read; of concurrent takes, \
         exactly one succeeds." => taking [
            a_free_lease_is_taken,
            an_owned_lease_is_taken_over,
            a_lease_is_taken_as_last_observed,
            a_worker_takes_its_own_lease_again,
            a_missing_lease_is_not_taken,
            of_16_racing_takes_one_succeeds,
            of_16_racing_takes_through_separate_handles_one_succeeds,
        ];
        "A lease that was taken, claimed, renewed or released since it was read is not taken." => taking [
            a_lease_taken_since_is_not_taken,
            a_lease_that_returned_to_its_owner_is_not_taken,
            a_lease_claimed_since_is_not_taken,
            a_lease_renewed_since_is_not_taken,
            leases_renewed_together_since_are_not_taken,
            a_lease_released_since_is_not_taken,
            a_lease_that_is_free_again_is_not_taken,
            of_a_racing_renewal_and_take_one_succeeds,
        ];
        "A taken lease has a new `counter`, no next owner, and its previous checkpoint." => taking [
            a_taken_lease_has_a_new_counter,
            a_taken_lease_has_no_next_owner,
            a_taken_lease_keeps_its_checkpoint,
        ];
        "A take that is repeated after a lost reply returns the lease if the lease has not changed since the first \
         take." => taking [
            a_repeated_take_returns_the_lease,
            a_repeated_take_of_a_lost_lease_returns_none,
        ];
        "`claim` makes the worker the next owner if the lease has none and its owner has not changed since it was \
         read; it changes nothing else, and a repeated claim succeeds again." => claiming [
            a_claim_sets_the_next_owner_and_changes_nothing_else,
            the_owner_of_a_claimed_lease_continues,
            a_lease_renewed_since_is_claimed,
            a_lease_with_a_next_owner_is_not_claimed,
            a_lease_of_another_owner_is_not_claimed,
            a_free_lease_is_not_claimed,
            a_missing_lease_is_not_claimed,
            a_repeated_claim_succeeds,
            of_16_racing_claims_one_succeeds,
        ];
    }
}

fn holding_rules<B: LeaseBackend>() -> Vec<Rule<B>> {
    rules! { LeaseTrial;
        "`renew` changes the heartbeat of each given lease that the worker still holds, stores the new checkpoints, \
         and returns the leases in the given order; a lease that the worker no longer holds is not changed and is \
         returned as `None`." => renewing [
            a_renewal_changes_the_heartbeat,
            a_renewal_changes_the_heartbeat_of_all_held_leases,
            a_renewal_keeps_the_lease,
            a_renewal_stores_the_new_checkpoint,
            each_lease_keeps_its_own_checkpoint,
            renewed_leases_are_in_the_order_of_the_request,
            any_number_of_leases_are_renewed,
            a_lease_taken_over_is_returned_as_none,
            held_leases_are_renewed_next_to_lost_ones,
            a_lease_taken_back_is_renewed,
            a_released_lease_is_returned_as_none,
            a_lease_of_another_worker_is_returned_as_none,
            a_missing_lease_is_returned_as_none,
        ];
        "`renew` with an empty list succeeds, because a worker without leases renews as well." => renewing [
            a_worker_without_leases_renews,
        ];
        "A renewal that is repeated after a lost reply succeeds." => renewing [
            a_repeated_renewal_renews,
            a_repeated_renewal_keeps_its_checkpoint,
            a_repeated_renewal_stores_a_later_checkpoint,
            a_lease_is_released_after_a_lost_renewal,
            a_repeated_end_is_returned,
        ];
        "`release` makes the next owner the owner, or leaves the lease without an owner, stores the new checkpoint, \
         and returns true; if the worker no longer holds the lease, it changes nothing and returns false."
            => releasing [
            a_released_lease_has_no_owner,
            a_released_lease_goes_to_its_next_owner,
            a_lease_with_an_unseen_claim_goes_to_its_next_owner,
            a_lease_changes_owners_any_number_of_times,
            a_release_stores_the_new_checkpoint,
            a_release_without_a_checkpoint_keeps_the_old_one,
            a_release_changes_no_other_lease,
            a_lease_taken_over_is_not_released,
            a_lease_is_released_once,
            a_lease_of_another_worker_is_not_released,
        ];
        "The lease of a shard that ended, by `renew` or `release`, has no owner and no next owner, and is never taken \
         or claimed again." => ending [
            a_shard_ended_by_renewal_has_no_owner,
            a_shard_ended_by_release_has_no_owner,
            an_ended_shard_has_no_next_owner,
            an_ended_shard_is_not_taken,
            an_ended_shard_is_not_claimed,
            an_ended_shard_keeps_its_checkpoint,
        ];
        "`remove` deletes the given leases whose shards have ended, and no others." => creating [
            an_ended_lease_is_removed,
            a_lease_that_has_not_ended_is_not_removed,
            an_ended_lease_remains_until_it_is_removed,
            concurrent_removals_of_the_same_leases_succeed,
            a_removed_lease_can_be_created_again,
        ];
        "After a call has returned, every later call sees its effect, from any worker." => visibility [
            a_change_is_visible_through_an_earlier_handle,
            a_change_outlives_its_handle,
            two_processes_hand_leases_over_repeatedly,
            concurrent_workers_renew_their_own_leases,
        ];
    }
}
