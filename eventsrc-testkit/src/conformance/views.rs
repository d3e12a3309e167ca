//! The contract of view stores: its sentences, and the rules that check each.

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::view::VersionedStore;

use super::fault_counts::with_fault_counts;
use super::report::Report;
use super::rule::{Rule, rules};
use super::suite::Suite;
use crate::faulty::{FaultSource, Faults};

mod applying;
mod backend;
mod cancellation;
mod catch_up_failures;
mod faulty_backend;
mod long_names;
mod missing_tables;
mod position_differs;
mod positions;
mod quarantine;
mod races;
mod rejecting;
mod sample;
mod skipping;
mod taking_over;
mod transient_failures;
mod trial;
mod under_faults;
mod version_trial;
mod versions;
mod visibility;

pub use backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
pub use faulty_backend::FaultyViewBackend;
pub use sample::{Line, ViewSample};
use trial::ViewTrial;

/// Checks a view store against the contract of [`ViewStore`](eventsrc_core::view::ViewStore).
pub async fn views<B: ViewBackend>(backend: &Arc<B>) -> Report {
    view_suite().run(backend).await
}

/// Checks a store of view versions against the contract of [`VersionedStore`].
pub async fn versioned_views<B: ViewBackend<Store: VersionedStore>>(backend: &Arc<B>) -> Report {
    versioned_view_suite().run(backend).await
}

/// Checks a view store under the faults of `seed`: workers that read positions after an error must reach the same
/// state as without faults.
///
/// The report names the seed and the number of injected faults. A kind of fault that was never injected is a
/// violation.
pub async fn views_under_faults<B: ViewBackend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultyViewBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = view_fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let counts = [injected.failed_before, injected.replies_lost, injected.delayed];
    with_fault_counts(report, seed, injected, !counts.contains(&0))
}

/// Returns the rules of [`ViewStore`](eventsrc_core::view::ViewStore).
pub fn view_suite<B: ViewBackend>() -> Suite<B> {
    let mut rules = applying_rules();
    rules.extend(position_rules());
    rules.extend(quarantine_rules());
    Suite::new(rules)
}

/// Returns the rules of [`VersionedStore`].
pub fn versioned_view_suite<B: ViewBackend<Store: VersionedStore>>() -> Suite<B> {
    Suite::new(version_rules())
}

/// Returns the rules for a view store under faults.
pub fn view_fault_suite<B: ViewBackend>() -> Suite<FaultyViewBackend<B>> {
    Suite::new(fault_rules())
}

fn applying_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A batch is applied as a whole or not at all: the rows and the positions of all its streams." => applying [
            a_batch_changes_rows_and_positions,
            a_batch_of_several_streams_applies_them_all,
            a_batch_applies_many_commits_of_a_stream_in_order,
            batches_continue_from_the_last_position,
            a_batch_may_mix_new_and_known_streams,
            a_commit_of_1000_events_is_applied,
            a_batch_of_1000_streams_applies_them_all,
            events_that_change_no_row_advance_the_position,
            streams_may_share_rows,
            rows_have_texts_of_every_kind,
            a_position_is_the_sequence_of_the_last_event,
            a_reader_never_sees_a_part_of_a_batch,
            a_reader_through_another_handle_never_sees_a_part_of_a_batch,
        ];
        "A batch is applied as a whole or not at all: the rows and the positions of all its streams."
            needs has_rules => applying [
            the_answer_matches_the_effect,
        ];
        "An empty batch returns `Done` and changes nothing." => applying [
            an_empty_batch_changes_nothing,
        ];
        "A batch is applied only if each of its streams has the position `from` of its change; otherwise nothing \
         changes, and the result is [`Applied::PositionDiffers`], even if the view's code would reject the batch."
            => position_differs [
            a_batch_applied_again_is_refused,
            a_batch_of_an_earlier_position_is_refused,
            a_batch_ahead_of_its_stream_is_refused,
            a_batch_that_continues_a_new_stream_is_refused,
            a_batch_that_restarts_a_stream_is_refused,
            a_batch_from_inside_a_commit_is_refused,
            a_position_in_another_zone_is_refused,
            one_differing_position_refuses_the_whole_batch,
            a_differing_position_refuses_new_and_known_streams,
            a_refused_batch_may_be_applied_later,
            a_differing_position_is_reported_before_code_errors,
            one_differing_position_of_1000_refuses_the_batch,
        ];
        "A batch is applied only if each of its streams has the position `from` of its change; otherwise nothing \
         changes, and the result is [`Applied::PositionDiffers`], even if the view's code would reject the batch."
            needs has_rules => position_differs [
            a_differing_position_is_reported_before_broken_constraints,
        ];
        "Of any number of concurrent batches that change one stream from the same position, exactly one is applied."
            => races [
            of_two_racing_batches_one_is_applied,
            of_32_racing_batches_one_is_applied,
            of_racing_batches_through_four_handles_one_is_applied,
            concurrent_copies_of_a_batch_are_applied_once,
            of_racing_batches_after_a_commit_one_is_applied,
            of_racing_batches_that_share_a_stream_one_is_applied,
            racing_workers_apply_every_commit_once,
        ];
        "A batch that the view's code rejects, by an error or a panic, or whose rows violate a constraint of the \
         database, changes nothing, and the result is [`Applied::Rejected`] with the cause." => rejecting [
            an_error_of_the_code_is_rejected,
            a_panic_of_the_code_is_rejected,
            a_text_that_cannot_be_stored_is_rejected,
            a_rejected_batch_changes_nothing,
            rejections_leak_no_resources,
            rejections_do_not_affect_other_batches,
        ];
        "A batch that the view's code rejects, by an error or a panic, or whose rows violate a constraint of the \
         database, changes nothing, and the result is [`Applied::Rejected`] with the cause."
            needs has_rules => rejecting [
            rows_that_violate_a_constraint_are_rejected,
        ];
        "A batch that the view's code rejects, by an error or a panic, or whose rows violate a constraint of the \
         database, changes nothing, and the result is [`Applied::Rejected`] with the cause."
            needs has_rules_at_the_end => rejecting [
            rows_that_violate_a_deferred_constraint_are_rejected,
        ];
        "A transient failure, such as a lost connection, a deadlock or a full disk, is an `Err` and never `Rejected`."
            => transient_failures [
            a_deadlock_is_never_rejected,
        ];
        "A transient failure, such as a lost connection, a deadlock or a full disk, is an `Err` and never `Rejected`."
            needs can_be_interrupted => transient_failures [
            an_interruption_is_an_error,
            an_interruption_never_returns_a_wrong_position,
        ];
        "A missing table, column or privilege of the view is an `Err` of kind `Refused` and never `Rejected`, and the \
         batch can be applied once it is back." needs has_tables => missing_tables [
            a_missing_table_is_refused,
        ];
        "After `Done`, every later read sees the batch, from any task or process." => visibility [
            an_applied_batch_is_visible_at_once,
            an_applied_batch_is_visible_to_another_task,
            an_applied_batch_is_visible_through_an_earlier_handle,
            an_applied_batch_outlives_the_handle,
            two_handles_may_apply_in_turn,
            concurrent_workers_read_their_own_batches,
        ];
        "If the caller stops waiting, the batch is applied as a whole or not at all, and other callers are not \
         affected." => cancellation [
            a_dropped_batch_is_applied_whole_or_not_at_all,
            a_dropped_batch_blocks_no_other_call,
            concurrent_dropped_batches_leave_every_stream_complete,
            a_dropped_read_blocks_no_other_call,
            a_dropped_skip_is_recorded_completely_or_not_at_all,
        ];
    }
}

fn position_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A stream of which no commit was applied has no position." => positions [
            a_new_view_has_no_positions,
            a_stream_has_no_position_before_it_is_applied,
        ];
        "A stream of which no commit was applied has no position." => applying [
            a_stream_with_a_similar_name_is_unaffected,
        ];
        "`positions_of` returns one entry for each given stream, in the given order; a stream that is named twice has \
         two entries, and an empty list has none." => positions [
            positions_are_returned_in_the_order_of_the_request,
            a_stream_requested_twice_is_returned_twice,
            a_request_for_no_streams_returns_an_empty_list,
            any_number_of_streams_may_be_requested,
        ];
        "`positions` returns the streams that have a position, each once, sorted by name, beginning after the given \
         name, and at most `limit` of them." => positions [
            positions_are_sorted_by_name,
            pages_of_positions_are_complete,
            positions_may_begin_after_any_name,
            streams_in_quarantine_keep_their_positions,
        ];
        "Each version of each view has its own positions, quarantines and skips." => positions [
            versions_are_distinct,
            views_are_distinct,
        ];
        "The name of a stream has any length: old streams have names that are longer than those of new ones may be."
            => long_names [
            streams_with_long_names_are_applied,
            streams_with_long_names_are_quarantined_and_skipped,
            long_names_are_distinct,
        ];
    }
}

fn quarantine_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A stream in quarantine is reported as such by `positions_of`, and by `quarantined` with everything that was \
         recorded." => quarantine [
            a_stream_in_quarantine_is_shown,
            the_recorded_error_comes_back,
            an_error_with_a_zero_character_is_recorded,
            quarantines_are_sorted_by_name,
        ];
        "`quarantine` has an effect only while the position of the stream is right before the commit; later it changes \
         nothing." => quarantine [
            a_stream_past_the_commit_is_not_quarantined,
            a_commit_is_applied_or_quarantined,
        ];
        "A stream in quarantine keeps its first record; a second `quarantine` changes nothing." => quarantine [
            a_second_quarantine_keeps_the_first_record,
        ];
        "A batch with a stream in quarantine changes nothing, and the result is [`Applied::Quarantined`]."
            => quarantine [
            a_batch_of_a_stream_in_quarantine_is_refused,
            other_streams_continue_during_a_quarantine,
        ];
        "`release` ends the quarantine and changes nothing else." => quarantine [
            release_ends_a_quarantine,
            release_changes_nothing_else,
            a_released_stream_may_be_quarantined_again,
        ];
        "`skip` moves the position over commits, ends the quarantine and records the decision, in one transaction, and \
         only from the position `from` of its change; otherwise nothing changes, and the result is `false`."
            => skipping [
            a_skip_moves_the_position_past_a_commit,
            the_first_commit_may_be_skipped,
            several_commits_may_be_skipped,
            a_skip_ends_the_quarantine,
            a_skip_from_another_position_is_refused,
            a_repeated_skip_is_refused,
            of_racing_skips_and_batches_one_succeeds,
            a_skip_is_one_transaction,
        ];
        "`skipped` returns all recorded decisions, sorted by stream and sequence." => skipping [
            skips_come_back_as_recorded,
            skips_are_sorted_by_stream_and_sequence,
        ];
    }
}

fn version_rules<B: ViewBackend<Store: VersionedStore>>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "The first version of a view that is ever opened serves immediately." => versions [
            the_first_version_serves_at_once,
            the_first_version_may_have_any_number,
            a_later_version_does_not_serve,
        ];
        "Reads through the view's public names return the rows and the positions of the serving version." => versions [
            readers_see_the_rows_of_the_serving_version,
            readers_see_the_positions_of_the_serving_version,
        ];
        "After `take_over` this version serves; the other version can still be applied to, and can take over again."
            => versions [
            a_version_that_took_over_serves,
            the_old_version_is_still_maintained,
            the_old_version_can_take_over_again,
        ];
        "`take_over` is one transaction, during which only the batch of `catch_up` changes positions of the view; \
         `catch_up` receives every stream in which this version is behind the serving version and returns the commits \
         in between, and it may return later ones as well." => taking_over [
            an_up_to_date_version_takes_over,
            catch_up_gets_every_stream_that_is_behind,
            the_catch_up_batch_is_applied,
            catch_up_may_bring_later_commits,
            positions_do_not_change_during_a_take_over,
            readers_during_a_take_over_never_go_back,
        ];
        "If this version is not behind in any stream, `catch_up` is not called." => taking_over [
            catch_up_is_not_called_when_nothing_is_behind,
        ];
        "If `catch_up` fails, `take_over` returns its `Err`, and if its batch would be rejected, the result is \
         [`TakeOver::Rejected`] with the cause; in both cases nothing changes." => catch_up_failures [
            a_catch_up_that_fails_changes_nothing,
            a_catch_up_rejected_by_the_code_changes_nothing,
        ];
        "If `catch_up` fails, `take_over` returns its `Err`, and if its batch would be rejected, the result is \
         [`TakeOver::Rejected`] with the cause; in both cases nothing changes." needs has_rules => catch_up_failures [
            a_catch_up_that_violates_a_constraint_changes_nothing,
        ];
        "If `catch_up` fails, `take_over` returns its `Err`, and if its batch would be rejected, the result is \
         [`TakeOver::Rejected`] with the cause; in both cases nothing changes."
            needs has_rules_at_the_end => catch_up_failures [
            a_catch_up_that_violates_a_deferred_constraint_changes_nothing,
        ];
        "A version that would still be behind in any stream does not take over: nothing changes, and the result is \
         [`TakeOver::Behind`]." => taking_over [
            a_version_that_stays_behind_does_not_take_over,
        ];
        "A version that has streams in quarantine in which it is behind the serving version does not take over: \
         nothing changes, and the result is [`TakeOver::Quarantined`] with the names of all such streams."
            => taking_over [
            a_version_quarantined_behind_the_serving_one_does_not_take_over,
            a_quarantine_that_is_not_behind_does_not_prevent_a_take_over,
        ];
        "`retire` removes the rows, positions, quarantines and skips of this version and of no other; retiring the \
         serving version is an error of kind `Invalid`." => versions [
            a_retired_version_is_gone,
            other_versions_outlive_a_retired_one,
            the_serving_version_is_not_retired,
        ];
        "`retire` removes a version whose tables are missing." needs has_tables => missing_tables [
            a_version_without_its_table_is_retired,
        ];
        "Equal rows have equal digests, in whatever order they were written, and different rows have different \
         digests." => versions [
            equal_rows_have_one_digest,
            other_rows_have_another_digest,
            a_digest_is_of_all_rows,
        ];
    }
}

fn fault_rules<B: ViewBackend>() -> Vec<Rule<FaultyViewBackend<B>>> {
    rules! { ViewTrial;
        "An `Err` means that the outcome is unknown: the batch may be applied, and the positions show whether it is."
            => under_faults [
            positions_show_the_effect_of_a_failed_call,
            racing_workers_whose_calls_fail_apply_every_commit_once,
        ];
        "`skip` moves the position over commits, ends the quarantine and records the decision, in one transaction, and \
         only from the position `from` of its change; otherwise nothing changes, and the result is `false`."
            => under_faults [
            retried_quarantines_and_skips_are_recorded_once,
        ];
    }
}
