//! Proofs of the rules about applying batches.

use eventsrc_core::view::{Applied, Batch, CommitRun, PositionChange, QuarantinedCommit};
use eventsrc_core::{ErrorKind, Sequence, StorageError, Timestamp};
use eventsrc_testkit::conformance::{Line, ViewSample};

use super::kept::{Answer, B, E, Kept, S};
use super::{Defect, Proof};
use Defect::Apply;

pub(crate) fn proofs() -> Vec<Proof> {
    [whole(), moved(), rejecting()].concat()
}

/// Applies the batch correctly, but with other events for the rows.
fn writing(kept: &mut Kept, batch: &B, events: Vec<E<'_>>) -> Answer {
    if !batch.position_changes().iter().all(|moved| kept.stands_before(moved)) {
        return Ok(Applied::PositionDiffers);
    }
    let mut changed = kept.clone();
    if let Err(error) = changed.write(events.into_iter()) {
        return Ok(Applied::Rejected(error));
    }
    changed.advance(batch.position_changes());
    *kept = changed;
    Ok(Applied::Done)
}

/// Applies the batch correctly, but with another comparison of positions.
fn comparing(kept: &mut Kept, batch: &B, stands: impl Fn(&Kept, &PositionChange<S>) -> bool) -> Answer {
    if batch.position_changes().iter().all(|moved| stands(kept, moved)) {
        kept.apply_as_told(batch)
    } else {
        Ok(Applied::PositionDiffers)
    }
}

/// These streams of a batch.
pub(super) fn part(batch: &B, wanted: impl Fn(usize, &PositionChange<S>) -> bool) -> B {
    let streams = batch.position_changes().iter().zip(batch.streams()).enumerate();
    let wanted = streams.filter(|(at, (moved, _))| wanted(*at, moved));
    let run = |(_, (moved, commits)): (usize, (&PositionChange<S>, &[_]))| CommitRun {
        stream: moved.stream.clone(),
        from: moved.from,
        commits: commits.to_vec(),
    };
    Batch::new(wanted.map(run).collect())
}

fn whole() -> Vec<Proof> {
    vec![
        (
            "a_batch_changes_rows_and_positions",
            "the position is not moved",
            Apply(|kept, batch| {
                kept.write(batch.events()).expect("sound");
                Ok(Applied::Done)
            }),
        ),
        (
            "a_batch_of_several_streams_applies_them_all",
            "rows of the first stream only are written",
            Apply(|kept, batch| {
                let first = part(batch, |at, _| at == 0);
                writing(kept, batch, first.events().collect())
            }),
        ),
        (
            "a_batch_applies_many_commits_of_a_stream_in_order",
            "commits are written in the order of their ids, backwards",
            Apply(|kept, batch| {
                let mut events: Vec<_> = batch.events().collect();
                events.sort_by_key(|event| std::cmp::Reverse(event.metadata().commit_id));
                writing(kept, batch, events)
            }),
        ),
        (
            "batches_continue_from_the_last_position",
            "a stream takes one batch",
            Apply(|kept, batch| {
                let applied =
                    batch.position_changes().iter().any(|moved| kept.positions.contains_key(&moved.stream));
                if applied { Ok(Applied::Done) } else { kept.apply(batch) }
            }),
        ),
        (
            "a_batch_may_mix_new_and_known_streams",
            "positions are inserted or updated, whichever the first stream needs",
            Apply(|kept, batch| {
                let new = batch.position_changes().first().is_none_or(|moved| moved.from.is_none());
                kept.apply(&part(batch, |_, moved| moved.from.is_none() == new))
            }),
        ),
        (
            "a_commit_of_1000_events_is_applied",
            "events from the 500th on are left out",
            Apply(|kept, batch| {
                writing(kept, batch, batch.events().filter(|event| event.index < 500).collect())
            }),
        ),
        (
            "a_batch_of_1000_streams_applies_them_all",
            "the first 500 streams are moved",
            Apply(|kept, batch| kept.apply(&part(batch, |at, _| at < 500))),
        ),
        (
            "events_that_change_no_row_advance_the_position",
            "positions move where a row was written",
            Apply(|kept, batch| {
                let mut changed = kept.clone();
                let answer = changed.apply(batch);
                changed.positions.retain(|stream, _| changed.rows.contains_key(stream.as_str()));
                *kept = changed;
                answer
            }),
        ),
        (
            "streams_may_share_rows",
            "a row is written once a batch",
            Apply(|kept, batch| {
                let mut answer = kept.apply(batch);
                if let Ok(Applied::Done) = answer {
                    let mut names = Vec::new();
                    for event in batch.events() {
                        let lines: Vec<_> = ViewSample::lines(&event).flatten().collect();
                        names.extend(lines.into_iter().map(|line| line.name));
                    }
                    names.sort_unstable();
                    if names.windows(2).any(|pair| pair[0] == pair[1] && !pair[0].contains('/')) {
                        answer = Err(StorageError::new(ErrorKind::Invalid, "a row twice"));
                    }
                }
                answer
            }),
        ),
        (
            "rows_have_texts_of_every_kind",
            "line ends are made alike",
            Apply(|kept, batch| {
                let answer = kept.apply(batch);
                for text in kept.rows.values_mut() {
                    *text = text.replace("\r\n", "\n");
                }
                answer
            }),
        ),
        (
            "a_position_is_the_sequence_of_the_last_event",
            "numbers have 53 bits",
            Apply(|kept, batch| {
                let answer = kept.apply(batch);
                for position in kept.positions.values_mut() {
                    let number = position.number() as f64 as u64;
                    *position =
                        S::from_parts(number.min(i64::MAX as u64), position.zone()).expect("in range");
                }
                answer
            }),
        ),
        (
            "an_empty_batch_changes_nothing",
            "a batch that changes nothing is `PositionDiffers`",
            Apply(|kept, batch| {
                if batch.position_changes().is_empty() {
                    Ok(Applied::PositionDiffers)
                } else {
                    kept.apply(batch)
                }
            }),
        ),
        ("a_reader_never_sees_a_part_of_a_batch", "places are read before rows", Defect::TornRead),
        (
            "a_reader_through_another_handle_never_sees_a_part_of_a_batch",
            "each stream has a transaction of its own",
            Defect::TornApply,
        ),
        (
            "the_answer_matches_the_effect",
            "an error that the code forgave ends the transaction, and the answer is `Done`",
            Apply(|kept, batch| {
                let mut lines = Vec::<Line>::new();
                for event in batch.events() {
                    lines.extend(ViewSample::lines(&event).flatten());
                }
                let aborted = lines.iter().any(|line| line.forgiven && line.text.is_none());
                if aborted { Ok(Applied::Done) } else { kept.apply(batch) }
            }),
        ),
    ]
}

fn moved() -> Vec<Proof> {
    vec![
        (
            "a_batch_applied_again_is_refused",
            "a batch applied again is `Done`",
            Apply(|kept, batch| {
                let again = |moved: &PositionChange<S>| kept.position(&moved.stream) == Some(moved.to);
                if batch.position_changes().iter().all(again) { Ok(Applied::Done) } else { kept.apply(batch) }
            }),
        ),
        (
            "a_batch_of_an_earlier_position_is_refused",
            "a batch is applied unless it is ahead",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| {
                    kept.stands_before(moved)
                        || (moved.from.is_some() && kept.position(&moved.stream) > moved.from)
                })
            }),
        ),
        (
            "a_batch_ahead_of_its_stream_is_refused",
            "a batch is applied unless it was",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| kept.position(&moved.stream) < Some(moved.to))
            }),
        ),
        (
            "a_batch_that_continues_a_new_stream_is_refused",
            "a new stream may be at any position",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| {
                    kept.stands_before(moved) || kept.position(&moved.stream).is_none()
                })
            }),
        ),
        (
            "a_batch_that_restarts_a_stream_is_refused",
            "a stream may be begun at any position",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| kept.stands_before(moved) || moved.from.is_none())
            }),
        ),
        (
            "a_batch_from_inside_a_commit_is_refused",
            "positions are compared by the four",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| {
                    let fours = |at: Option<S>| at.map_or(0, |at| (at.number() + 2) / 4);
                    fours(kept.position(&moved.stream)) == fours(moved.from)
                })
            }),
        ),
        (
            "a_position_in_another_zone_is_refused",
            "positions are compared by their numbers",
            Apply(|kept, batch| {
                comparing(kept, batch, |kept, moved| {
                    kept.position(&moved.stream).map(S::number) == moved.from.map(S::number)
                })
            }),
        ),
        (
            "one_differing_position_refuses_the_whole_batch",
            "streams that stand elsewhere are left out of the batch",
            Apply(|kept, batch| {
                let standing = part(batch, |_, moved| kept.stands_before(moved));
                kept.apply_as_told(&standing)
            }),
        ),
        (
            "a_differing_position_refuses_new_and_known_streams",
            "new streams are begun before old ones are compared",
            Apply(|kept, batch| {
                let answer = kept.apply(batch);
                if let Ok(Applied::PositionDiffers) = answer {
                    for moved in batch.position_changes().iter().filter(|moved| moved.from.is_none()) {
                        kept.positions.entry(moved.stream.clone()).or_insert(moved.to);
                    }
                }
                answer
            }),
        ),
        (
            "a_refused_batch_may_be_applied_later",
            "a stream that stood elsewhere is put in quarantine",
            Apply(|kept, batch| {
                for moved in batch.position_changes() {
                    if !kept.stands_before(moved) {
                        let poison = QuarantinedCommit {
                            stream: moved.stream.clone(),
                            position: kept.position(&moved.stream),
                            sequence: moved.to,
                            error: "elsewhere".into(),
                            time: Timestamp::UNIX_EPOCH,
                        };
                        kept.quarantine(&poison);
                    }
                }
                kept.apply(batch)
            }),
        ),
        (
            "a_differing_position_is_reported_before_code_errors",
            "the code runs before positions are compared",
            Apply(|kept, batch| match kept.clone().write(batch.events()) {
                Err(error) => Ok(Applied::Rejected(error)),
                Ok(()) => kept.apply(batch),
            }),
        ),
        (
            "a_differing_position_is_reported_before_code_errors",
            "the code runs before quarantines are looked at",
            Apply(|kept, batch| {
                let stands = |moved: &PositionChange<S>| kept.position(&moved.stream) == moved.from;
                match kept.clone().write(batch.events()) {
                    Err(error) if batch.position_changes().iter().all(stands) => Ok(Applied::Rejected(error)),
                    _ => kept.apply(batch),
                }
            }),
        ),
        (
            "a_differing_position_is_reported_before_broken_constraints",
            "rows are written before positions are compared",
            Apply(|kept, batch| match kept.clone().write(batch.events()) {
                Err(error) if error.to_string().contains("a row has a text") => Ok(Applied::Rejected(error)),
                _ => kept.apply(batch),
            }),
        ),
        (
            "one_differing_position_of_1000_refuses_the_batch",
            "500 streams at a time are compared and moved",
            Apply(|kept, batch| {
                for from in (0..batch.position_changes().len()).step_by(500) {
                    let part = part(batch, |at, _| (from..from + 500).contains(&at));
                    if let other @ (Err(_) | Ok(Applied::PositionDiffers | Applied::Rejected(_))) =
                        kept.apply(&part)
                    {
                        return other;
                    }
                }
                Ok(Applied::Done)
            }),
        ),
    ]
}

fn rejecting() -> Vec<Proof> {
    vec![
        (
            "an_error_of_the_code_is_rejected",
            "an event whose code fails is left out",
            Apply(|kept, batch| match kept.apply(batch) {
                Ok(Applied::Rejected(_)) => {
                    kept.advance(batch.position_changes());
                    Ok(Applied::Done)
                }
                answer => answer,
            }),
        ),
        (
            "a_panic_of_the_code_is_rejected",
            "a panic goes through",
            Apply(|kept, batch| match kept.apply(batch) {
                Ok(Applied::Rejected(error)) if error.to_string().contains("panicked") => panic!("{error}"),
                answer => answer,
            }),
        ),
        (
            "rows_that_violate_a_constraint_are_rejected",
            "an error of the database is an `Err`",
            Apply(|kept, batch| match kept.apply(batch) {
                Ok(Applied::Rejected(error)) if error.to_string().contains("a row has a text") => {
                    Err(StorageError::new(ErrorKind::Invalid, "the database refuses").because(error))
                }
                answer => answer,
            }),
        ),
        (
            "rows_that_violate_a_deferred_constraint_are_rejected",
            "what the end of a transaction comes to is not looked at",
            Apply(|kept, batch| match kept.apply(batch) {
                Ok(Applied::Rejected(error)) if error.to_string().contains("there is no row") => {
                    Ok(Applied::Done)
                }
                answer => answer,
            }),
        ),
        (
            "a_text_that_cannot_be_stored_is_rejected",
            "a text with U+0000 is an `Err`",
            Apply(|kept, batch| {
                let zero =
                    |event: E<'_>| matches!(event.payload, ViewSample::Text(text) if text.contains('\0'));
                if batch.events().any(zero) {
                    return Err(StorageError::new(ErrorKind::Unavailable, "invalid byte sequence"));
                }
                kept.apply(batch)
            }),
        ),
        (
            "a_rejected_batch_changes_nothing",
            "what was written before the refusal stays",
            Apply(|kept, batch| {
                if !batch.position_changes().iter().all(|moved| kept.stands_before(moved)) {
                    return Ok(Applied::PositionDiffers);
                }
                if let Err(error) = kept.write(batch.events()) {
                    return Ok(Applied::Rejected(error));
                }
                kept.advance(batch.position_changes());
                Ok(Applied::Done)
            }),
        ),
        ("rejections_leak_no_resources", "a rejection keeps its connection", Defect::RejectionsLeak),
        (
            "rejections_do_not_affect_other_batches",
            "a rejection takes back what others did meanwhile",
            Defect::RejectionTakesBack,
        ),
    ]
}
