//! The contract of leases, sentence by sentence, and the rules that check each.
//!
//! A rule is an `async fn` whose name says what has to hold, in the module of its kind. A backend author says how leases
//! are kept and opened:
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventsrc_core::lease::MemoryLeases;
//! use eventsrc_testkit::conformance::{self, LeaseBackend};
//!
//! struct Memory;
//!
//! impl LeaseBackend for Memory {
//!     type Store = MemoryLeases;
//!     type Location = MemoryLeases;
//!
//!     async fn create(&self) -> MemoryLeases {
//!         MemoryLeases::default()
//!     }
//!
//!     async fn open(&self, place: &MemoryLeases) -> MemoryLeases {
//!         place.clone()
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! conformance::leases(&Arc::new(Memory)).await.assert_kept();
//! # });
//! ```

use std::sync::Arc;

use super::contract::rules;
use super::report::{Report, Rule, Suite};

mod backend;
pub mod claiming;
pub mod creating;
pub mod ending;
pub mod releasing;
pub mod renewing;
pub mod taking;
mod trial;
pub mod visibility;

pub use backend::LeaseBackend;
pub use trial::{LeaseHandle, LeaseTrial};

/// Holds a store for leases against the contract of [`LeaseStore`](eventsrc_core::lease::LeaseStore).
pub async fn leases<B: LeaseBackend>(backend: &Arc<B>) -> Report {
    lease_suite().run(backend).await
}

/// The rules of [`LeaseStore`](eventsrc_core::lease::LeaseStore).
pub fn lease_suite<B: LeaseBackend>() -> Suite<B> {
    let mut rules = taking_rules();
    rules.extend(holding_rules());
    Suite::new(rules)
}

fn taking_rules<B: LeaseBackend>() -> Vec<Rule<B>> {
    rules! { LeaseTrial;
        "A shard has at most one lease; `create` leaves those alone that are there." => creating [
            a_created_lease_is_as_it_was_asked_for,
            a_lease_that_is_there_is_left_alone,
            leases_that_are_missing_are_made_beside_those_that_are_there,
            a_shard_named_twice_has_one_lease,
            nothing_may_be_created,
            many_may_create_the_same_leases_at_once,
        ];
        "`leases` are all there are, each once, by shard." => creating [
            a_new_place_has_no_leases,
            leases_are_sorted_by_shard,
            any_number_of_leases_are_listed,
        ];
        "`take` makes the worker the owner if the lease is as it was seen; of many that take it at once, one does." => taking [
            a_lease_that_nobody_has_is_taken,
            a_lease_that_somebody_has_is_taken_over,
            a_lease_is_taken_as_it_was_seen_last,
            a_worker_takes_its_own_lease_again,
            a_lease_that_is_not_there_is_not_taken,
            of_16_takers_one_takes,
            of_16_takers_through_handles_of_their_own_one_takes,
        ];
        "A lease that was taken, claimed, renewed or released since it was seen is not taken." => taking [
            a_lease_that_was_taken_is_not_taken,
            a_lease_that_came_back_to_its_owner_is_not_taken,
            a_lease_that_was_claimed_is_not_taken,
            a_lease_that_was_renewed_is_not_taken,
            leases_that_were_renewed_together_are_not_taken,
            a_lease_that_was_released_is_not_taken,
            a_lease_that_is_free_again_is_not_taken,
            of_a_renewal_and_a_take_at_once_one_comes_true,
        ];
        "What is taken has another `counter`, no heir, and its checkpoint as it was." => taking [
            what_is_taken_has_another_counter,
            what_is_taken_has_no_heir,
            what_is_taken_keeps_its_checkpoint,
        ];
        "A take made again, because its answer was lost, gives the lease if nothing became of it since." => taking [
            a_take_made_again_gives_the_lease,
            a_take_made_again_gives_nothing_that_is_lost,
        ];
        "`claim` makes the worker the heir if there is none and the owner is the one that was seen, and changes nothing else; \
         made again, it stands." => claiming [
            a_claim_names_the_heir_and_changes_nothing_else,
            the_owner_of_a_claimed_lease_goes_on,
            a_lease_that_was_renewed_is_claimed,
            a_lease_that_has_an_heir_is_not_claimed,
            a_lease_of_another_owner_is_not_claimed,
            a_lease_that_nobody_has_is_not_claimed,
            a_lease_that_is_not_there_is_not_claimed,
            a_claim_made_again_stands,
            of_16_claimers_one_is_heir,
        ];
    }
}

fn holding_rules<B: LeaseBackend>() -> Vec<Rule<B>> {
    rules! { LeaseTrial;
        "`renew` moves the pulse of all these leases that the worker still holds, keeps their new checkpoints, and gives them \
         as they are now, in the order asked for; one that it does not hold any more is left alone, and given as `None`."
            => renewing [
            a_renewal_moves_the_pulse,
            a_renewal_moves_the_pulse_of_all_that_are_held,
            a_renewal_keeps_the_lease,
            a_renewal_keeps_the_new_checkpoint,
            each_lease_keeps_its_own_checkpoint,
            renewed_leases_are_in_the_order_asked_for,
            any_number_of_leases_are_renewed,
            a_lease_that_was_taken_over_is_given_as_none,
            what_is_held_is_renewed_beside_what_was_lost,
            a_lease_that_was_won_back_is_held_anew,
            a_lease_that_was_released_is_given_as_none,
            a_lease_of_another_worker_is_given_as_none,
            a_lease_that_is_not_there_is_given_as_none,
        ];
        "`renew` of no lease at all is allowed: a worker that holds nothing lives as well." => renewing [
            a_worker_that_holds_nothing_renews,
        ];
        "A renewal made again, because its answer was lost, renews." => renewing [
            a_renewal_made_again_renews,
            a_renewal_made_again_keeps_its_checkpoint,
            a_renewal_made_again_brings_a_later_checkpoint,
            after_a_lost_renewal_a_lease_is_released,
            an_end_made_again_is_given,
        ];
        "`release` makes the heir the owner, or nobody, keeps the new checkpoint, and answers whether the lease was still \
         held; one that was not is left alone." => releasing [
            a_released_lease_has_no_owner,
            a_released_lease_goes_to_its_heir,
            a_lease_released_unknowingly_goes_to_its_heir,
            a_lease_changes_hands_any_number_of_times,
            a_release_keeps_the_new_checkpoint,
            a_release_without_a_checkpoint_keeps_the_old_one,
            a_release_changes_no_other_lease,
            a_lease_that_was_taken_over_is_not_released,
            a_lease_is_released_once,
            a_lease_of_another_worker_is_not_released,
        ];
        "A shard that ended, by `renew` or `release`, has neither owner nor heir any more, and is not taken or claimed again."
            => ending [
            a_shard_that_ended_by_renewal_has_no_owner,
            a_shard_that_ended_by_release_has_no_owner,
            a_shard_that_ended_has_no_heir,
            a_shard_that_ended_is_not_taken,
            a_shard_that_ended_is_not_claimed,
            a_shard_that_ended_has_no_other_checkpoint,
        ];
        "`remove` forgets the leases of shards that ended, and of no others." => creating [
            a_lease_that_ended_is_forgotten,
            a_lease_that_has_not_ended_is_not_forgotten,
            a_lease_that_ended_is_kept_until_it_is_removed,
            many_may_remove_the_same_leases_at_once,
            a_forgotten_lease_can_be_made_again,
        ];
        "What was answered is there for every later call, from any worker." => visibility [
            what_a_worker_did_is_seen_through_an_earlier_handle,
            what_a_worker_did_outlives_its_handle,
            two_processes_hand_leases_to_and_fro,
            workers_side_by_side_renew_what_they_hold,
        ];
    }
}
