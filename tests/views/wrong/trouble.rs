//! What the rules about races, failures, visibility and callers that stop waiting are proved against.

use eventsrc_core::view::{Applied, StreamPosition};
use eventsrc_core::{ErrorKind, StorageError};

use super::applying::part;
use super::kept::{Kept, S};
use super::{Defect, Outage, Proof};

pub(crate) fn proofs() -> Vec<Proof> {
    [racing(), failing(), visibility(), dropped()].concat()
}

pub(crate) fn proofs_under_faults() -> Vec<Proof> {
    vec![
        (
            "positions_tell_what_became_of_an_error",
            "positions move with the next batch",
            Defect::Apply(|kept, batch| {
                let before = kept.positions.clone();
                let answer = kept.apply(batch);
                if kept.rows.len() % 2 == 1 && before.is_empty() {
                    kept.positions = before;
                }
                answer
            }),
        ),
        (
            "racing_workers_whose_calls_fail_apply_every_commit_once",
            "it looks first, and applies later",
            Defect::CheckThenApply,
        ),
        (
            "decisions_whose_calls_fail_are_recorded_once",
            "a decision carried out again is recorded again",
            Defect::Skip(|kept, skip| {
                let answer = kept.skip(skip);
                if !answer {
                    kept.skipped.push(skip.clone());
                }
                answer
            }),
        ),
    ]
}

fn racing() -> Vec<Proof> {
    vec![
        ("of_two_racing_batches_one_is_applied", "it looks first, and applies later", Defect::CheckThenApply),
        ("of_32_racing_batches_one_is_applied", "more than 16 at once fail", Defect::FewAtOnce),
        (
            "of_racing_batches_through_four_handles_one_is_applied",
            "each handle has a lock of its own",
            Defect::LockPerHandle,
        ),
        (
            "the_same_batch_applied_by_many_is_applied_once",
            "a batch applied again is `Done`",
            Defect::Apply(|kept, batch| {
                let again = batch
                    .position_changes()
                    .iter()
                    .all(|moved| kept.position(&moved.stream) == Some(moved.to));
                if again { Ok(Applied::Done) } else { kept.apply(batch) }
            }),
        ),
        (
            "of_racing_batches_after_a_commit_one_is_applied",
            "it looks first, and applies later",
            Defect::CheckThenApply,
        ),
        (
            "of_racing_batches_that_share_a_stream_one_is_applied",
            "each stream has a transaction of its own",
            Defect::Apply(|kept, batch| {
                let mut answers = Vec::new();
                for stream in 0..batch.position_changes().len() {
                    answers.push(kept.apply(&part(batch, |at, _| at == stream))?);
                }
                let done = answers.iter().all(|answer| matches!(answer, Applied::Done));
                Ok(if done { Applied::Done } else { Applied::PositionDiffers })
            }),
        ),
        (
            "workers_that_race_apply_every_commit_once",
            "it looks first, and applies later",
            Defect::CheckThenApply,
        ),
    ]
}

fn failing() -> Vec<Proof> {
    fn unavailable() -> StorageError {
        StorageError::new(ErrorKind::Unavailable, "interrupted")
    }
    fn nowhere(streams: &[eventsrc_core::StreamName]) -> Vec<StreamPosition<S>> {
        vec![StreamPosition::default(); streams.len()]
    }
    vec![
        (
            "rows_locked_in_a_circle_are_never_rejected",
            "an error of the database is always a rejection",
            Defect::RejectsWhenBusy,
        ),
        (
            "an_interruption_is_an_error",
            "a lost connection is a rejection",
            Defect::Interrupted(|_: &Kept, _| Outage {
                applied: Ok(Applied::Rejected("connection lost".into())),
                places: Err(unavailable()),
            }),
        ),
        (
            "an_interruption_hides_no_position",
            "what cannot be read is taken for nothing",
            Defect::Interrupted(|_: &Kept, streams| Outage {
                applied: Err(unavailable()),
                places: Ok(nowhere(streams)),
            }),
        ),
    ]
}

fn visibility() -> Vec<Proof> {
    vec![
        (
            "what_was_applied_is_read_at_once",
            "a read shows what there was at the one before",
            Defect::LateReads,
        ),
        (
            "what_was_applied_is_read_from_another_task",
            "another task sees the state before",
            Defect::HiddenFromOtherTasks,
        ),
        (
            "what_was_applied_is_read_through_an_earlier_handle",
            "a handle reads what was there when it was opened",
            Defect::StaleReads,
        ),
        ("what_was_applied_outlives_the_handle", "it goes with the handle", Defect::LostWithTheHandle),
        (
            "two_handles_may_apply_by_turns",
            "a handle compares with the positions that it knows",
            Defect::StaleCompares,
        ),
        (
            "workers_side_by_side_read_what_they_applied",
            "all is read, changed and written back",
            Defect::ReadThenWriteAll,
        ),
    ]
}

fn dropped() -> Vec<Proof> {
    vec![
        (
            "a_dropped_batch_is_applied_whole_or_not_at_all",
            "each stream has a transaction of its own",
            Defect::TornApply,
        ),
        (
            "a_dropped_batch_holds_nobody_up",
            "a call that is dropped keeps the lock",
            Defect::DroppedApplyKeepsLock,
        ),
        (
            "batches_dropped_among_others_leave_every_stream_whole",
            "a call that is dropped keeps the lock",
            Defect::DroppedApplyKeepsLock,
        ),
        (
            "a_dropped_question_holds_nobody_up",
            "a question that is dropped keeps the lock",
            Defect::DroppedPlacesKeepsLock,
        ),
        ("a_dropped_skip_is_whole_or_not_at_all", "a skip has several steps", Defect::TornSkip),
    ]
}
