//! The contract of views, sentence by sentence, and the rules that check each.
//!
//! A rule is an `async fn` whose name says what has to hold, in the module of its kind. The rules apply
//! commits of [`ViewSample`]s, each of which says what the code of the test view is to do; every row keeps what was written
//! to it, so that a commit that is applied twice, left out or out of order shows. A backend author writes the test view
//! for the database, and says how it is opened and read:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use eventsrc_core::{Event, StorageError, StreamName, ViewDefinition};
//! use eventsrc_core::view::{MemoryView, StreamPosition, ViewError};
//! use eventsrc_testkit::conformance::{
//!     self, SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample,
//! };
//! use futures::FutureExt;
//! use futures::future::BoxFuture;
//!
//! struct Memory;
//!
//! type Store = Arc<MemoryView<SampleKey, u64, ViewSample, ViewRows>>;
//!
//! /// The code of the test view.
//! fn apply(rows: &mut ViewRows, event: Event<'_, SampleKey, u64, ViewSample>) -> Result<(), ViewError> {
//!     for line in ViewSample::lines(&event) {
//!         let line = line?;
//!         // A map has no rules that a line could break.
//!         rows.entry(line.name).or_default().push_str(&line.text.unwrap_or_default());
//!     }
//!     Ok(())
//! }
//!
//! impl ViewBackend for Memory {
//!     type Store = Store;
//!     type Location = Mutex<HashMap<ViewDefinition, Store>>;
//!
//!     fn capabilities(&self) -> ViewCapabilities {
//!         ViewCapabilities { has_rules: false, has_rules_at_the_end: false, can_be_interrupted: false }
//!     }
//!
//!     async fn create(&self) -> Self::Location {
//!         Mutex::default()
//!     }
//!
//!     async fn open(&self, place: &Self::Location, definition: &ViewDefinition) -> Store {
//!         let mut views = place.lock().unwrap();
//!         let new = || Arc::new(MemoryView::new(definition.clone(), apply));
//!         Arc::clone(views.entry(definition.clone()).or_insert_with(new))
//!     }
//!
//!     async fn rows(&self, store: &Store) -> Result<ViewRows, StorageError> {
//!         Ok(store.read(&[], ViewRows::clone).1)
//!     }
//!
//!     async fn read(
//!         &self,
//!         store: &Store,
//!         streams: &[StreamName],
//!     ) -> Result<(Vec<StreamPosition<u64>>, ViewRows), StorageError> {
//!         Ok(store.read(streams, ViewRows::clone))
//!     }
//!
//!     async fn interrupt(&self, _: &Self::Location) -> BoxFuture<'static, ()> {
//!         std::future::ready(()).boxed()
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let backend = Arc::new(Memory);
//! conformance::views(&backend).await.assert_kept();
//! conformance::views_under_faults(&backend, 7).await.assert_kept();
//! # });
//! ```

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::view::VersionedStore;

use super::contract::rules;
use super::report::{Report, Rule, Suite};
use crate::faulty::{FaultSource, Faults};

pub mod applying;
mod backend;
pub mod caught_up;
pub mod dropped;
pub mod failing;
pub mod places;
pub mod position_differs;
pub mod quarantine;
pub mod racing;
pub mod rejecting;
mod sample;
pub mod skipping;
pub mod taking_over;
mod trial;
pub mod under_faults;
pub mod versions;
pub mod visibility;

pub use backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
pub use sample::{Line, ViewSample};
pub use trial::{RunOf, ViewCommitOf, ViewHandle, ViewTrial};
pub use under_faults::FaultyViewBackend;

/// Holds a store for views against the contract of [`ViewStore`](eventsrc_core::view::ViewStore).
pub async fn views<B: ViewBackend>(backend: &Arc<B>) -> Report {
    view_suite().run(backend).await
}

/// Holds a store for versions of views against the contract of [`VersionedStore`].
pub async fn versioned_views<B: ViewBackend<Store: VersionedStore>>(backend: &Arc<B>) -> Report {
    versioned_view_suite().run(backend).await
}

/// Holds a store for views against what has to come out when calls fail, with the faults of this seed.
///
/// The report names the seed, and how many faults were injected; none of a kind is a violation.
pub async fn views_under_faults<B: ViewBackend>(backend: &Arc<B>, seed: u64) -> Report {
    let source = Arc::new(FaultSource::new(Faults::seeded(seed), Arc::new(SystemClock)));
    let faulty = FaultyViewBackend::new(Arc::clone(backend), Arc::clone(&source));
    let report = view_fault_suite().run(&Arc::new(faulty)).await;
    let injected = source.injected();
    let enough = [injected.failed_before, injected.replies_lost, injected.delayed];
    super::noted(report, seed, injected, !enough.contains(&0))
}

/// The rules of [`ViewStore`](eventsrc_core::view::ViewStore).
pub fn view_suite<B: ViewBackend>() -> Suite<B> {
    let mut rules = applying_rules();
    rules.extend(place_rules());
    rules.extend(quarantine_rules());
    Suite::new(rules)
}

/// The rules of [`VersionedStore`].
pub fn versioned_view_suite<B: ViewBackend<Store: VersionedStore>>() -> Suite<B> {
    Suite::new(version_rules())
}

/// The rules for a store for views that fails now and then.
pub fn view_fault_suite<B: ViewBackend>() -> Suite<FaultyViewBackend<B>> {
    Suite::new(fault_rules())
}

fn applying_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A batch is applied whole or not at all: rows and positions of all its streams." => applying [
            a_batch_moves_rows_and_positions,
            a_batch_of_several_streams_moves_them_all,
            a_batch_applies_many_commits_of_a_stream_in_order,
            batches_go_on_where_the_last_one_ended,
            a_batch_has_new_streams_and_old_ones,
            a_commit_of_1000_events_is_applied,
            a_batch_of_1000_streams_moves_them_all,
            events_that_change_no_row_move_the_position,
            streams_may_share_rows,
            rows_have_texts_of_every_kind,
            a_position_is_the_sequence_of_the_last_event,
            a_reader_never_sees_a_part_of_a_batch,
            a_reader_through_another_handle_never_sees_a_part_of_a_batch,
        ];
        "A batch is applied whole or not at all: rows and positions of all its streams." needs has_rules => applying [
            an_answer_is_what_happened,
        ];
        "An empty batch is `Done`, and changes nothing." => applying [
            an_empty_batch_changes_nothing,
        ];
        "A batch is applied only if each of its streams is at the position that its move begins from; otherwise nothing \
         changes, and the answer is [`Applied::PositionDiffers`], whatever the view's code would say to it." => position_differs [
            a_batch_applied_again_is_refused,
            a_batch_of_an_earlier_position_is_refused,
            a_batch_ahead_of_its_stream_is_refused,
            a_batch_that_goes_on_in_a_new_stream_is_refused,
            a_batch_that_begins_a_stream_anew_is_refused,
            a_batch_from_inside_a_commit_is_refused,
            a_position_of_another_zone_is_another,
            one_stream_elsewhere_holds_up_the_whole_batch,
            new_and_old_streams_hold_each_other_up,
            a_batch_that_was_refused_may_be_applied_later,
            a_batch_elsewhere_is_refused_whatever_the_code_would_say,
            one_of_1000_streams_holds_up_the_batch,
        ];
        "A batch is applied only if each of its streams is at the position that its move begins from; otherwise nothing \
         changes, and the answer is [`Applied::PositionDiffers`], whatever the view's code would say to it." needs has_rules => position_differs [
            a_batch_elsewhere_is_refused_whatever_rule_its_rows_break,
        ];
        "Of any number of racing batches that move one stream from the same position, exactly one is applied." => racing [
            of_two_racing_batches_one_is_applied,
            of_32_racing_batches_one_is_applied,
            of_racing_batches_through_four_handles_one_is_applied,
            the_same_batch_applied_by_many_is_applied_once,
            of_racing_batches_after_a_commit_one_is_applied,
            of_racing_batches_that_share_a_stream_one_is_applied,
            workers_that_race_apply_every_commit_once,
        ];
        "A batch of which the view's code refuses something, by an error or a panic, or whose rows break a rule of the \
         database, changes nothing, and the answer is [`Applied::Rejected`] with the cause." => rejecting [
            an_error_of_the_code_is_rejected,
            a_panic_of_the_code_is_rejected,
            a_text_that_cannot_be_held_is_rejected,
            a_rejected_batch_changes_nothing,
            rejections_use_nothing_up,
            rejections_leave_others_alone,
        ];
        "A batch of which the view's code refuses something, by an error or a panic, or whose rows break a rule of the \
         database, changes nothing, and the answer is [`Applied::Rejected`] with the cause." needs has_rules => rejecting [
            rows_that_break_a_rule_are_rejected,
        ];
        "A batch of which the view's code refuses something, by an error or a panic, or whose rows break a rule of the \
         database, changes nothing, and the answer is [`Applied::Rejected`] with the cause."
            needs has_rules_at_the_end => rejecting [
            rows_that_break_a_rule_at_the_end_are_rejected,
        ];
        "What may go well another time, such as a lost connection, a deadlock or a full disk, is never `Rejected` but an \
         `Err`." => failing [
            rows_locked_in_a_circle_are_never_rejected,
        ];
        "What may go well another time, such as a lost connection, a deadlock or a full disk, is never `Rejected` but an \
         `Err`." needs can_be_interrupted => failing [
            an_interruption_is_an_error,
            an_interruption_hides_no_position,
        ];
        "When a batch was answered with `Done`, every later read sees it, from any task or process." => visibility [
            what_was_applied_is_read_at_once,
            what_was_applied_is_read_from_another_task,
            what_was_applied_is_read_through_an_earlier_handle,
            what_was_applied_outlives_the_handle,
            two_handles_may_apply_by_turns,
            workers_side_by_side_read_what_they_applied,
        ];
        "A caller that stops waiting does no harm: the batch is applied whole or not at all." => dropped [
            a_dropped_batch_is_applied_whole_or_not_at_all,
            a_dropped_batch_holds_nobody_up,
            batches_dropped_among_others_leave_every_stream_whole,
            a_dropped_question_holds_nobody_up,
            a_dropped_skip_is_whole_or_not_at_all,
        ];
    }
}

fn place_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A stream that was never applied has no position." => places [
            a_new_view_has_no_positions,
            a_stream_has_no_position_before_it_is_applied,
        ];
        "A stream that was never applied has no position." => applying [
            a_stream_of_a_similar_name_does_not_move,
        ];
        "`places` answers in the order of the streams that it was asked for: one that is named twice is answered twice, and \
         an empty list with an empty list." => places [
            places_are_in_the_order_that_was_asked_for,
            a_stream_named_twice_is_answered_twice,
            no_streams_have_no_places,
            any_number_of_streams_may_be_named,
        ];
        "`positions` are those of all streams that have one, each once, by name, from after a name on, and at most as many as \
         asked for." => places [
            positions_are_sorted_by_name,
            positions_page_by_page_are_everything,
            positions_may_begin_after_any_name,
            streams_in_quarantine_keep_their_positions,
        ];
        "Another version of the view, and another view, have positions, quarantines and skips of their own." => places [
            versions_are_apart,
            views_are_apart,
        ];
    }
}

fn quarantine_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A stream in quarantine is shown as such by `places`, and by `quarantined` with all that was recorded." => quarantine [
            a_stream_in_quarantine_is_shown,
            what_was_recorded_comes_back,
            an_error_with_a_zero_character_is_recorded,
            quarantines_are_sorted_by_name,
        ];
        "A stream goes into quarantine only while it stands right before the commit in question; later it changes nothing."
            => quarantine [
            a_stream_that_moved_on_is_not_quarantined,
            a_commit_is_applied_or_quarantined,
        ];
        "A stream that is in quarantine keeps what was recorded first; a second quarantine changes nothing." => quarantine [
            a_second_quarantine_keeps_the_first_record,
        ];
        "A batch that moves a stream in quarantine changes nothing, and the answer is [`Applied::Quarantined`]." => quarantine [
            a_batch_of_a_stream_in_quarantine_is_refused,
            streams_beside_a_quarantine_go_on,
        ];
        "`release` ends it, and nothing else changes." => quarantine [
            release_ends_a_quarantine,
            release_changes_nothing_else,
            a_released_stream_may_be_quarantined_again,
        ];
        "`skip` moves the position over a commit, ends the quarantine and records the decision, in one transaction, and only \
         from the position that its change begins from; otherwise nothing changes, and the answer is `false`." => skipping [
            a_skip_moves_over_a_commit,
            the_first_commit_may_be_skipped,
            several_commits_may_be_skipped,
            a_skip_ends_the_quarantine,
            a_skip_from_elsewhere_is_refused,
            a_skip_is_carried_out_once,
            of_racing_skips_and_batches_one_comes_true,
            a_skip_is_one_transaction,
        ];
        "`skipped` are all decisions that were recorded, in the order of their streams and sequences." => skipping [
            decisions_come_back_as_they_were_recorded,
            decisions_are_sorted_by_stream_and_sequence,
        ];
    }
}

fn version_rules<B: ViewBackend<Store: VersionedStore>>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "The first version that is ever opened serves at once." => versions [
            the_first_version_serves_at_once,
            the_first_version_may_have_any_number,
            a_later_version_does_not_serve,
        ];
        "Reads by the view's public names show the rows of the serving version, and their check of positions goes by its \
         positions." => versions [
            readers_see_the_rows_of_the_serving_version,
            readers_see_the_places_of_the_serving_version,
        ];
        "After `take_over` this version serves; the other one goes on being kept, and can take over again." => versions [
            a_version_that_took_over_serves,
            the_other_version_goes_on_being_kept,
            the_other_version_can_take_over_again,
        ];
        "`take_over` is one transaction, in which no position of the view moves but by `catch_up`: it is given every stream \
         of which this version lies behind the serving one, and brings the commits in between; it may bring later ones as \
         well." => taking_over [
            a_version_that_lies_nowhere_behind_takes_over,
            catch_up_is_given_every_stream_that_lies_behind,
            what_catch_up_brings_is_applied,
            catch_up_may_bring_later_commits,
            positions_stand_still_during_a_take_over,
            readers_beside_a_take_over_never_go_back,
        ];
        "Where this version lies nowhere behind, `catch_up` is not called." => taking_over [
            catch_up_is_not_called_for_nothing,
        ];
        "A `take_over` whose `catch_up` fails is that `Err`, and one whose batch would be rejected is [`TakeOver::Rejected`] \
         with the cause; either changes nothing." => caught_up [
            a_catch_up_that_fails_changes_nothing,
            a_catch_up_that_the_code_refuses_changes_nothing,
        ];
        "A `take_over` whose `catch_up` fails is that `Err`, and one whose batch would be rejected is [`TakeOver::Rejected`] \
         with the cause; either changes nothing." needs has_rules => caught_up [
            a_catch_up_that_breaks_a_rule_changes_nothing,
        ];
        "A `take_over` whose `catch_up` fails is that `Err`, and one whose batch would be rejected is [`TakeOver::Rejected`] \
         with the cause; either changes nothing." needs has_rules_at_the_end => caught_up [
            a_catch_up_that_breaks_a_rule_at_the_end_changes_nothing,
        ];
        "A version that would still lie behind anywhere does not take over: nothing changes, and the answer is \
         [`TakeOver::Behind`]." => taking_over [
            a_version_that_would_lie_behind_does_not_take_over,
        ];
        "A version with a stream in quarantine that the serving one is past does not take over: nothing changes, and the \
         answer is [`TakeOver::Quarantined`] with the names of all such streams." => taking_over [
            a_version_with_a_quarantine_behind_does_not_take_over,
            a_quarantine_that_lies_nowhere_behind_hinders_nobody,
        ];
        "`retire` removes the rows, positions, quarantines and skips of this version, and of no other; the serving one is \
         not retired, which is an error of kind `Invalid`." => versions [
            a_retired_version_is_gone,
            other_versions_outlive_a_retired_one,
            the_serving_version_is_not_retired,
        ];
        "The digest is the same for equal rows, in whatever order they were written, and another one for other rows."
            => versions [
            equal_rows_have_one_digest,
            other_rows_have_another_digest,
            a_digest_is_of_all_rows,
        ];
    }
}

fn fault_rules<B: ViewBackend>() -> Vec<Rule<FaultyViewBackend<B>>> {
    rules! { ViewTrial;
        "An `Err` means unknown: the batch may be applied. Positions tell." => under_faults [
            positions_tell_what_became_of_an_error,
            racing_workers_whose_calls_fail_apply_every_commit_once,
        ];
        "`skip` moves the position over a commit, ends the quarantine and records the decision, in one transaction, and only \
         from the position that its change begins from; otherwise nothing changes, and the answer is `false`." => under_faults [
            decisions_whose_calls_fail_are_recorded_once,
        ];
    }
}
