//! Proofs of the rules about races, failures, visibility and cancelled calls.

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
            "positions_show_the_effect_of_a_failed_call",
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
            "retried_quarantines_and_skips_are_recorded_once",
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
            "concurrent_copies_of_a_batch_are_applied_once",
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
            "racing_workers_apply_every_commit_once",
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
            "a_deadlock_is_never_rejected",
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
            "an_interruption_never_returns_a_wrong_position",
            "what cannot be read is taken for nothing",
            Defect::Interrupted(|_: &Kept, streams| Outage {
                applied: Err(unavailable()),
                places: Ok(nowhere(streams)),
            }),
        ),
        (
            "a_missing_table_is_refused",
            "a missing table is a rejection",
            Defect::WithoutTable(|_, _| Ok(Applied::Rejected("no such table".into()))),
        ),
        (
            "a_missing_table_is_refused",
            "a missing table is corrupt data",
            Defect::WithoutTable(|_, _| Err(StorageError::new(ErrorKind::Corrupt, "no such table"))),
        ),
        (
            "a_missing_table_is_refused",
            "positions move without the rows",
            Defect::WithoutTable(|kept, batch| {
                kept.advance(batch.position_changes());
                Err(StorageError::new(ErrorKind::Refused, "no such table"))
            }),
        ),
    ]
}

fn visibility() -> Vec<Proof> {
    vec![
        (
            "an_applied_batch_is_visible_at_once",
            "a read shows what there was at the one before",
            Defect::LateReads,
        ),
        (
            "an_applied_batch_is_visible_to_another_task",
            "another task sees the state before",
            Defect::HiddenFromOtherTasks,
        ),
        (
            "an_applied_batch_is_visible_through_an_earlier_handle",
            "a handle reads what was there when it was opened",
            Defect::StaleReads,
        ),
        ("an_applied_batch_outlives_the_handle", "it goes with the handle", Defect::LostWithTheHandle),
        (
            "two_handles_may_apply_in_turn",
            "a handle compares with the positions that it knows",
            Defect::StaleCompares,
        ),
        (
            "concurrent_workers_read_their_own_batches",
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
            "a_dropped_batch_blocks_no_other_call",
            "a call that is dropped keeps the lock",
            Defect::DroppedApplyKeepsLock,
        ),
        (
            "concurrent_dropped_batches_leave_every_stream_complete",
            "a call that is dropped keeps the lock",
            Defect::DroppedApplyKeepsLock,
        ),
        (
            "a_dropped_read_blocks_no_other_call",
            "a question that is dropped keeps the lock",
            Defect::DroppedPlacesKeepsLock,
        ),
        ("a_dropped_skip_is_recorded_completely_or_not_at_all", "a skip has several steps", Defect::TornSkip),
    ]
}
