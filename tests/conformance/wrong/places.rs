//! Proofs of the rules about streams, invalid puts and concurrent callers.

use std::sync::Arc;

use eventsrc_core::storage::{Conflict, Put};
use eventsrc_core::{ErrorKind, Sequence, StreamName, Timestamp};
use eventsrc_testkit::conformance::SampleKey;

use super::puts::{Proof, is_conflict};
use super::{Defect, cut, error, store};

pub(crate) fn proofs() -> Vec<Proof> {
    [streams(), places(), side_by_side()].concat()
}

fn streams() -> Vec<Proof> {
    fn one(id: impl Into<String>) -> SampleKey {
        SampleKey { category: "all".into(), id: id.into() }
    }
    fn each(key: &SampleKey, change: impl Fn(&str) -> String) -> SampleKey {
        SampleKey { category: change(&key.category), id: change(&key.id) }
    }
    vec![
        (
            "the_same_id_in_two_categories_is_two_streams",
            "the category is left out",
            Defect::Name(|key| one(&key.id)),
        ),
        (
            "names_with_a_common_prefix_are_distinct",
            "category and id are put together with nothing between",
            Defect::Name(|key| one(format!("{}{}", key.category, key.id))),
        ),
        (
            "ids_with_slashes_are_distinct",
            "an id ends at a slash",
            Defect::Name(|key| each(key, |part| part.trim_end_matches('/').to_owned())),
        ),
        (
            "ids_with_separators_are_distinct",
            "category and id are put together with a # between",
            Defect::Name(|key| one(format!("{}#{}", key.category, key.id))),
        ),
        (
            "names_that_differ_in_case_are_distinct",
            "case is ignored",
            Defect::Name(|key| each(key, str::to_lowercase)),
        ),
        (
            "names_that_differ_in_spaces_are_distinct",
            "spaces at the end are ignored",
            Defect::Name(|key| each(key, |part| part.trim_end_matches(' ').to_owned())),
        ),
        (
            "ids_with_control_characters_are_distinct",
            "control characters are left out",
            Defect::Name(|key| each(key, |part| part.chars().filter(|c| !c.is_control()).collect())),
        ),
        (
            "unicode_names_are_distinct",
            "combining marks are left out",
            Defect::Name(|key| each(key, |part| part.replace("e\u{301}", "\u{e9}"))),
        ),
        (
            "emoji_names_are_distinct",
            "letters beyond 16 bits are all the same",
            Defect::Name(|key| {
                each(key, |part| part.chars().map(|c| if c > '\u{ffff}' { '?' } else { c }).collect())
            }),
        ),
        (
            "ids_with_quotes_are_distinct",
            "quotes are doubled by the writer of the query, and halved",
            Defect::Name(|key| each(key, |part| part.replace("''", "'"))),
        ),
        (
            "ids_with_wildcards_are_distinct",
            "an underscore is any letter",
            Defect::Name(|key| each(key, |part| part.replace(['_', 'c', '%'], "?"))),
        ),
        (
            "ids_that_look_like_numbers_are_distinct",
            "an id that is a number is kept as one",
            Defect::Name(|key| {
                each(key, |part| part.parse::<f64>().map_or(part.into(), |number| number.to_string()))
            }),
        ),
        (
            "very_long_ids_are_distinct",
            "an id is cut to 255 letters",
            Defect::Name(|key| each(key, |part| part.chars().take(255).collect())),
        ),
        (
            "a_sequence_taken_on_one_stream_is_free_on_another",
            "a sequence is taken on all streams",
            Defect::Put(|streams, commit| {
                let taken = streams.values().flatten().any(|c| c.first.number() == commit.first.number());
                taken.then_some(Ok(Put::Conflict(Conflict { existing: None, head: None })))
            }),
        ),
        (
            "a_commit_id_may_be_stored_on_two_streams",
            "a commit id is unique over all streams",
            Defect::Put(|streams, commit| {
                let mut all = streams.values().flatten();
                let same = all.find(|c| c.metadata.commit_id == commit.metadata.commit_id)?;
                Some(Ok(Put::Repeated { last: same.last() }))
            }),
        ),
        (
            "two_thousand_streams_are_distinct",
            "streams beyond the 1,500th are lost",
            Defect::Put(|streams, _| (streams.len() >= 1_500).then_some(Ok(Put::Stored))),
        ),
        (
            "writers_on_different_streams_do_not_conflict",
            "streams share 16 locks, and a taken lock is a conflict",
            Defect::Put(|streams, _| {
                (streams.len() > 16).then_some(Ok(Put::Conflict(Conflict { existing: None, head: None })))
            }),
        ),
    ]
}

fn places() -> Vec<Proof> {
    /// Answers puts of malformed names as stored, if `taken`.
    macro_rules! taken {
        ($taken:expr) => {
            Defect::Put(|_, commit| {
                let taken: fn(&SampleKey) -> bool = $taken;
                taken(&commit.key).then_some(Ok(Put::Stored))
            })
        };
    }
    vec![
        (
            "a_put_inside_a_commit_is_a_conflict",
            "only the first sequences of commits are taken",
            Defect::Put(|streams, commit| {
                let inside = is_conflict(streams, commit)
                    && !streams[&commit.key].iter().any(|c| c.first.number() == commit.first.number());
                inside.then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_that_begins_inside_the_latest_commit_is_a_conflict",
            "a commit that runs past the end is taken for a new one",
            Defect::Put(|streams, commit| {
                let head = streams.get(&commit.key)?.last()?.head();
                let past = is_conflict(streams, commit) && commit.last() > head.sequence;
                past.then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_inside_a_commit_under_its_id_is_a_conflict",
            "a put inside a commit under its id is taken for that commit",
            Defect::Answer(|streams, commit, answer| {
                let id = commit.metadata.commit_id;
                match (
                    answer,
                    streams.get(&commit.key).and_then(|s| s.iter().find(|c| c.metadata.commit_id == id)),
                ) {
                    (Ok(Put::Conflict(_)), Some(same)) => Ok(Put::Repeated { last: same.last() }),
                    (answer, _) => answer,
                }
            }),
        ),
        (
            "a_commit_past_the_last_sequence_is_refused",
            "the last sequence is not looked at",
            Defect::Put(|_, commit| (!commit.fits()).then_some(Ok(Put::Stored))),
        ),
        (
            "a_first_commit_with_a_previous_is_refused",
            "the previous commit of a first commit is not looked at",
            Defect::Put(|_, commit| {
                (commit.first.number() == 1 && commit.previous.is_some()).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_commit_past_the_last_sequence_changes_nothing",
            "the events that fit are stored",
            Defect::Put(|streams, commit| {
                if commit.fits() {
                    return None;
                }
                let fitting = (i64::MAX as u64 - commit.first.number() + 1) as usize;
                store(streams, commit.key.clone(), cut(commit, fitting));
                Some(Err(error(ErrorKind::Invalid, commit)))
            }),
        ),
        (
            "a_name_without_a_category_is_refused",
            "a category may be empty",
            taken!(|key| key.category.is_empty()),
        ),
        ("a_name_without_an_id_is_refused", "an id may be empty", taken!(|key| key.id.is_empty())),
        (
            "a_category_with_a_slash_is_refused",
            "a category may have a slash",
            taken!(|key| key.category.contains('/')),
        ),
        (
            "a_name_with_a_zero_character_is_refused",
            "only ids are looked at for U+0000",
            taken!(|key| key.category.contains('\0')),
        ),
        (
            "a_new_stream_with_a_longer_name_is_refused",
            "the limit is not that of all backends",
            taken!(|key| (16_385..=19_000).contains(&(key.category.len() + 1 + key.id.len()))),
        ),
        (
            "a_new_stream_with_a_longer_name_is_refused",
            "only the length of the id counts",
            taken!(|key| key.category.len() > 15_000 && key.id.len() <= 16_384),
        ),
        (
            "a_commit_with_an_event_without_a_payload_is_refused",
            "an event without a payload is stored",
            Defect::Put(|_, commit| (commit.payloads.len() < commit.len()).then_some(Ok(Put::Stored))),
        ),
        (
            "a_commit_with_an_event_without_a_payload_is_refused",
            "only the last event needs a payload",
            Defect::Put(|_, commit| {
                let last = commit.payloads.of_event(commit.len() - 1);
                (commit.payloads.one_each().is_none() && last.len() == 1).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_commit_with_a_split_event_is_refused",
            "an event of several payloads is stored",
            Defect::Put(|_, commit| (commit.payloads.len() > commit.len()).then_some(Ok(Put::Stored))),
        ),
        (
            "a_commit_with_a_split_event_is_refused",
            "the payloads of a commit are counted together",
            Defect::Put(|_, commit| {
                let is_split = commit.payloads.one_each().is_none();
                (is_split && commit.payloads.len() == commit.len()).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_time_that_would_not_come_back_is_refused",
            "the last second has microseconds",
            Defect::Put(|_, commit| (commit.time == Timestamp::MAX).then_some(Ok(Put::Stored))),
        ),
        (
            "names_that_every_backend_stores_are_stored",
            "a name of 1,024 bytes is too long",
            Defect::Answer(|_, commit, answer| {
                let length = commit.key.category.len() + 1 + commit.key.id.len();
                if length == 1_024 { Err(error(ErrorKind::Invalid, commit)) } else { answer }
            }),
        ),
        (
            "a_longer_name_is_stored_whole_or_refused",
            "names are cut after 1,030 bytes",
            Defect::Name(|key| {
                let id: String = key.id.chars().take(1_030).collect();
                (&*key.category, &*id).into()
            }),
        ),
        (
            "names_that_every_backend_stores_are_stored",
            "names are cut after 1,000 bytes",
            Defect::Name(|key| {
                let id: String = key.id.chars().take(1_000).collect();
                (&*key.category, &*id).into()
            }),
        ),
        (
            "a_put_under_a_malformed_name_changes_nothing",
            "the text of a malformed name is taken for another's, and stored",
            Defect::Put(|streams, commit| {
                if StreamName::of(&commit.key).is_ok() {
                    return None;
                }
                let text = format!("{}/{}", commit.key.category, commit.key.id);
                let (category, id) = text.split_once('/').unwrap_or_default();
                let id = id.split('\0').next().unwrap_or_default();
                store(streams, (category, id).into(), Arc::clone(commit));
                Some(Err(error(ErrorKind::Invalid, commit)))
            }),
        ),
    ]
}

fn side_by_side() -> Vec<Proof> {
    vec![
        ("a_reader_never_sees_a_part_of_a_commit", "events are stored one by one", Defect::TornEvents),
        (
            "a_reader_through_another_handle_never_sees_a_part",
            "events are stored one by one",
            Defect::TornEvents,
        ),
        ("latest_never_lies_inside_a_commit", "the head moves on event by event", Defect::TornLatest),
        ("of_two_racing_puts_one_is_stored", "a put looks first and stores later", Defect::CheckThenStore),
        ("of_64_racing_puts_one_is_stored", "a put looks first and stores later", Defect::CheckThenStore),
        (
            "of_racing_puts_through_two_handles_one_is_stored",
            "a handle judges by what it knows",
            Defect::StalePuts,
        ),
        (
            "of_racing_puts_of_different_lengths_one_is_stored",
            "a put looks first and stores later",
            Defect::CheckThenStore,
        ),
        (
            "of_racing_puts_of_different_lengths_one_is_stored",
            "a longer commit wins over a shorter one",
            Defect::Put(|streams, commit| {
                let taken = streams.get_mut(&commit.key)?;
                if taken[0].len() >= commit.len() {
                    return None;
                }
                taken[0] = Arc::clone(commit);
                Some(Ok(Put::Stored))
            }),
        ),
        (
            "of_racing_puts_after_a_commit_one_is_stored",
            "a put looks first and stores later",
            Defect::CheckThenStore,
        ),
        (
            "of_racing_puts_from_different_zones_one_is_stored",
            "a place is a number and a zone",
            Defect::Put(|streams, commit| {
                let free = streams.get(&commit.key)?.iter().all(|c| c.first != commit.first);
                free.then(|| {
                    store(streams, commit.key.clone(), Arc::clone(commit));
                    Ok(Put::Stored)
                })
            }),
        ),
        (
            "writers_that_retry_conflicts_store_every_commit_once",
            "a put looks first and stores later",
            Defect::CheckThenStore,
        ),
        ("two_handles_may_write_in_turn", "a handle judges by what it knows", Defect::StalePuts),
        (
            "a_stored_commit_is_read_at_once",
            "a read shows what there was at the read before",
            Defect::LateReads,
        ),
        (
            "a_stored_commit_is_read_at_once_from_its_sequence",
            "a read from inside the stream leaves the last commit out",
            Defect::Read(|mut commits, from| {
                if from.is_some() {
                    commits.pop();
                }
                (commits, from)
            }),
        ),
        (
            "a_stored_commit_is_read_from_another_task",
            "other tasks see a commit when the next is stored",
            Defect::HiddenFromOtherTasks,
        ),
        (
            "a_stored_commit_is_read_through_an_earlier_handle",
            "a handle reads what there was when it was opened",
            Defect::StaleReads,
        ),
        (
            "a_stored_commit_outlives_the_handle",
            "what a handle stored goes when it goes",
            Defect::LostWithTheHandle,
        ),
        (
            "latest_is_up_to_date_through_every_handle",
            "a handle remembers the head it read first",
            Defect::StaleLatest,
        ),
        (
            "concurrent_writers_read_their_own_commits",
            "a read shows what there was at the read before",
            Defect::LateReads,
        ),
        (
            "a_dropped_put_stores_its_commit_whole_or_not_at_all",
            "events are stored one by one",
            Defect::TornEvents,
        ),
        (
            "a_dropped_put_blocks_no_other_call",
            "a put that is dropped keeps the lock",
            Defect::DroppedPutKeepsLock,
        ),
        (
            "concurrent_dropped_puts_leave_every_stream_complete",
            "events are stored one by one",
            Defect::TornEvents,
        ),
    ]
}
