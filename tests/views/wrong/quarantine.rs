//! Proofs of the rules about quarantines and skips.

use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Applied, QuarantinedCommit, StreamPosition};
use eventsrc_core::{ErrorKind, Sequence, StorageError};

use super::kept::S;
use super::{Defect, Proof};
use Defect::{Apply, Places, Positions, Quarantine, Quarantined, Release, Skip, Skipped};

pub(crate) fn proofs() -> Vec<Proof> {
    [quarantines(), releases(), skips(), long_names()].concat()
}

/// A store that cannot record a name that is longer than an index row of Postgres.
fn long_names() -> Vec<Proof> {
    const LONGEST: usize = 2_688;
    vec![
        (
            "streams_with_long_names_are_applied",
            "a position is not recorded if the name is too long for an index",
            Apply(|kept, batch| {
                if batch.position_changes().iter().any(|change| change.stream.as_str().len() > LONGEST) {
                    return Ok(Applied::Rejected("index row is too large".into()));
                }
                kept.apply(batch)
            }),
        ),
        (
            "streams_with_long_names_are_applied",
            "long names are listed cut",
            Positions(|kept, after, limit| {
                let mut after = kept.after(after, limit);
                for (stream, _) in &mut after {
                    let text: String = stream.as_str().chars().take(LONGEST).collect();
                    *stream = text.parse().expect("its beginning is a name");
                }
                after
            }),
        ),
        (
            "streams_with_long_names_are_quarantined_and_skipped",
            "a quarantine is not recorded if the name is too long for an index",
            Quarantine(|kept, poison| {
                if poison.stream.as_str().len() > LONGEST {
                    return Err(StorageError::new(ErrorKind::Invalid, "index row is too large"));
                }
                kept.quarantine(poison);
                Ok(())
            }),
        ),
        (
            "long_names_are_distinct",
            "names are compared up to the limit of an index",
            Apply(|kept, batch| {
                let answer = kept.apply(batch);
                for change in batch.position_changes() {
                    kept.positions.retain(|stream, _| {
                        let (own, other) = (change.stream.as_str(), stream.as_str());
                        own == other || own.get(..LONGEST) != other.get(..LONGEST) || own.len() < LONGEST
                    });
                }
                answer
            }),
        ),
    ]
}

fn quarantines() -> Vec<Proof> {
    vec![
        (
            "a_stream_in_quarantine_is_shown",
            "places do not tell of quarantines",
            Places(|kept, streams| {
                Ok(streams
                    .iter()
                    .map(|stream| StreamPosition { quarantined: false, ..kept.place(stream) })
                    .collect())
            }),
        ),
        (
            "the_recorded_error_comes_back",
            "errors are cut to 255 letters",
            Quarantine(|kept, poison| {
                let error = poison.error.chars().take(255).collect();
                kept.quarantine(&QuarantinedCommit { error, ..poison.clone() });
                Ok(())
            }),
        ),
        (
            "an_error_with_a_zero_character_is_recorded",
            "the database refuses U+0000",
            Quarantine(|kept, poison| {
                if poison.error.contains('\0') {
                    return Err(StorageError::new(ErrorKind::Invalid, "invalid byte sequence"));
                }
                kept.quarantine(poison);
                Ok(())
            }),
        ),
        (
            "quarantines_are_sorted_by_name",
            "quarantines come as they were recorded",
            Quarantined(|views, which| {
                let mut found: Vec<_> = views.kept(which).quarantined.into_values().collect();
                found.sort_by_key(|poison| poison.time);
                found
            }),
        ),
        (
            "a_stream_past_the_commit_is_not_quarantined",
            "the position is not compared",
            Quarantine(|kept, poison| {
                kept.quarantined.insert(poison.stream.clone(), poison.clone());
                Ok(())
            }),
        ),
        (
            "a_commit_is_applied_or_quarantined",
            "it looks first, and puts in quarantine later",
            Defect::CheckThenQuarantine,
        ),
        (
            "a_second_quarantine_keeps_the_first_record",
            "the last record is kept",
            Quarantine(|kept, poison| {
                if kept.position(&poison.stream) == poison.position {
                    kept.quarantined.insert(poison.stream.clone(), poison.clone());
                }
                Ok(())
            }),
        ),
        (
            "a_batch_of_a_stream_in_quarantine_is_refused",
            "quarantines are not looked at",
            Apply(|kept, batch| {
                let stands =
                    batch.position_changes().iter().all(|moved| kept.position(&moved.stream) == moved.from);
                if stands { kept.apply_as_told(batch) } else { Ok(Applied::PositionDiffers) }
            }),
        ),
        (
            "a_batch_of_a_stream_in_quarantine_is_refused",
            "a quarantine is told as another position",
            Apply(|kept, batch| match kept.apply(batch)? {
                Applied::Quarantined => Ok(Applied::PositionDiffers),
                other => Ok(other),
            }),
        ),
        (
            "other_streams_continue_during_a_quarantine",
            "a quarantine stops the view",
            Apply(
                |kept, batch| {
                    if kept.quarantined.is_empty() { kept.apply(batch) } else { Ok(Applied::PositionDiffers) }
                },
            ),
        ),
    ]
}

fn releases() -> Vec<Proof> {
    vec![
        (
            "release_ends_a_quarantine",
            "there always was a quarantine",
            Release(|kept, stream| {
                kept.release(stream);
                true
            }),
        ),
        (
            "release_changes_nothing_else",
            "all quarantines end",
            Release(|kept, stream| {
                let released = kept.release(stream);
                kept.quarantined.clear();
                released
            }),
        ),
        (
            "a_released_stream_may_be_quarantined_again",
            "the first error is remembered",
            Quarantine(|kept, poison| {
                let first = kept.released.get(&poison.stream).cloned();
                kept.quarantine(&first.unwrap_or_else(|| poison.clone()));
                Ok(())
            }),
        ),
    ]
}

fn skips() -> Vec<Proof> {
    vec![
        (
            "a_skip_moves_the_position_past_a_commit",
            "a skip is recorded, and nothing moves",
            Skip(|kept, skip| {
                let position = kept.position(&skip.change.stream);
                let answer = kept.skip(skip);
                if let Some(position) = position {
                    kept.positions.insert(skip.change.stream.clone(), position);
                }
                answer
            }),
        ),
        (
            "the_first_commit_may_be_skipped",
            "a position that is not there is not moved",
            Skip(|kept, skip| {
                let new = skip.change.from.is_none();
                let answer = kept.skip(skip);
                if new {
                    kept.positions.remove(&skip.change.stream);
                }
                answer
            }),
        ),
        (
            "several_commits_may_be_skipped",
            "a skip moves by two at most",
            Skip(|kept, skip| {
                let mut skip = skip.clone();
                let most = skip.change.from.map_or(0, S::number) + 2;
                if skip.change.to.number() > most {
                    skip.change.to = S::from_parts(most, Zone(1)).expect("in range");
                }
                kept.skip(&skip)
            }),
        ),
        (
            "a_skip_ends_the_quarantine",
            "a skip moves the position only",
            Skip(|kept, skip| {
                let quarantined = kept.quarantined.clone();
                let answer = kept.skip(skip);
                kept.quarantined = quarantined;
                answer
            }),
        ),
        (
            "a_skip_from_another_position_is_refused",
            "the quarantine ends before the position is compared",
            Skip(|kept, skip| {
                kept.quarantined.remove(&skip.change.stream);
                kept.skip(skip)
            }),
        ),
        (
            "a_repeated_skip_is_refused",
            "what was skipped may be skipped again",
            Skip(|kept, skip| kept.skipped.contains(skip) || kept.skip(skip)),
        ),
        (
            "of_racing_skips_and_batches_one_succeeds",
            "it looks first, and skips later",
            Defect::CheckThenSkip,
        ),
        ("a_skip_is_one_transaction", "a skip has several steps", Defect::TornSkip),
        (
            "skips_come_back_as_recorded",
            "times before 1970 are those of 1970",
            Skipped(|views, which| {
                let mut found = views.kept(which).skipped;
                for skip in &mut found {
                    skip.time = skip.time.max(eventsrc_core::Timestamp::UNIX_EPOCH);
                }
                found
            }),
        ),
        (
            "skips_are_sorted_by_stream_and_sequence",
            "decisions come as they were made",
            Skipped(|views, which| {
                let mut found = views.kept(which).skipped;
                found.sort_by_key(|skip| skip.time);
                found
            }),
        ),
    ]
}
