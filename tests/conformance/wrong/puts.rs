//! Proofs of the rules about puts.

use std::sync::Arc;

use eventsrc_core::storage::{Conflict, Put};
use eventsrc_core::{ErrorKind, Head, Sequence};
use eventsrc_testkit::conformance::{Sample, SampleKey};

use super::{Answer, C, Defect, Streams, cut, error, judge, store};

/// A rule, the description of the defect, and the defect.
pub(crate) type Proof = (&'static str, &'static str, Defect);

pub(crate) fn proofs() -> Vec<Proof> {
    [putting(), conflicts(), repeats()].concat()
}

fn putting() -> Vec<Proof> {
    vec![
        (
            "a_put_on_an_empty_stream_is_stored",
            "the first commit of a stream is acknowledged and forgotten",
            Defect::Put(|streams, commit| (!streams.contains_key(&commit.key)).then_some(Ok(Put::Stored))),
        ),
        (
            "a_put_after_the_latest_commit_is_stored",
            "a stream takes one commit",
            Defect::Put(|streams, commit| streams.contains_key(&commit.key).then_some(Ok(Put::Stored))),
        ),
        (
            "a_put_after_a_commit_of_several_events_is_stored",
            "the next sequence is counted in commits",
            Defect::Put(|streams, commit| {
                let commits = streams.get(&commit.key).map_or(0, Vec::len) as u64;
                (commit.first.number() != commits + 1).then(|| Err(error(ErrorKind::Invalid, commit)))
            }),
        ),
        (
            "a_commit_of_two_events_is_stored",
            "commits are cut to one event",
            Defect::Keep(|c| *c = (*cut(c, 1)).clone()),
        ),
        (
            "a_commit_of_26_events_is_stored",
            "commits are cut to 25 events",
            Defect::Keep(|c| *c = (*cut(c, 25)).clone()),
        ),
        (
            "a_commit_of_101_events_is_stored",
            "commits are cut to 100 events",
            Defect::Keep(|c| *c = (*cut(c, 100)).clone()),
        ),
        (
            "a_commit_of_1000_events_is_stored",
            "commits of more than 500 events are refused",
            Defect::Put(|_, commit| (commit.len() > 500).then(|| Err(error(ErrorKind::Refused, commit)))),
        ),
        (
            "a_stream_of_300_commits_is_stored",
            "a read ends after 256 commits",
            Defect::Read(|commits, from| (commits.into_iter().take(256).collect(), from)),
        ),
        (
            "a_payload_of_a_megabyte_is_stored",
            "a payload is cut to 400 KB",
            Defect::Keep(|c| cut_texts(c, 400_000)),
        ),
        (
            "a_stream_of_more_than_a_megabyte_is_stored",
            "a read ends after a megabyte",
            Defect::Read(|commits, from| {
                let mut bytes = 0;
                let within = |commit: &Arc<C>| {
                    bytes += commit.payloads.iter().map(size).sum::<usize>();
                    bytes < 1_000_000
                };
                (commits.into_iter().take_while(within).collect(), from)
            }),
        ),
        (
            "a_put_directly_after_one_of_another_handle_is_stored",
            "a handle judges by what it knows",
            Defect::StalePuts,
        ),
    ]
}

fn conflicts() -> Vec<Proof> {
    vec![
        (
            "a_put_at_a_taken_sequence_is_a_conflict",
            "a conflict is an error",
            Defect::Answer(|_, commit, answer| match answer {
                Ok(Put::Conflict(_)) => Err(error(ErrorKind::Unavailable, commit)),
                answer => answer,
            }),
        ),
        (
            "a_put_at_a_taken_sequence_changes_nothing",
            "a put overwrites, and then reports the conflict",
            Defect::Put(|streams, commit| {
                on_conflict(streams, commit, |stream, place| stream[place] = Arc::clone(commit))
            }),
        ),
        (
            "a_put_at_an_earlier_commit_is_a_conflict",
            "only the latest commit is looked at",
            Defect::Answer(|streams, commit, answer| match answer {
                Ok(Put::Conflict(_)) if !at_the_latest(streams, commit) => {
                    Err(error(ErrorKind::Invalid, commit))
                }
                answer => answer,
            }),
        ),
        (
            "a_longer_commit_at_a_taken_sequence_stores_no_part",
            "events beyond those in the way are stored",
            Defect::Put(|streams, commit| {
                on_conflict(streams, commit, |stream, _| {
                    let end = stream[stream.len() - 1].last();
                    let beyond = commit.events().filter(|event| event.sequence() > end).count();
                    if beyond > 0 {
                        let mut tail = (**commit).clone();
                        tail.first = end.next(end.zone()).expect("in range");
                        stream.push(cut(&tail, beyond));
                    }
                })
            }),
        ),
        (
            "a_shorter_commit_at_a_taken_sequence_is_a_conflict",
            "places are compared by their last sequence",
            Defect::Answer(|streams, commit, answer| match answer {
                Ok(Put::Conflict(_)) if !streams[&commit.key].iter().any(|c| c.last() == commit.last()) => {
                    Ok(Put::Stored)
                }
                answer => answer,
            }),
        ),
        (
            "the_same_payloads_under_another_id_are_a_conflict",
            "commits are known by their payloads",
            Defect::Answer(|streams, commit, answer| {
                match streams.get(&commit.key).and_then(|s| s.iter().find(|c| c.payloads == commit.payloads))
                {
                    Some(same) => Ok(Put::Repeated { last: same.last() }),
                    None => answer,
                }
            }),
        ),
        (
            "a_commit_id_stored_at_another_sequence_is_a_conflict",
            "a commit id is looked for in the whole stream",
            Defect::Answer(|streams, commit, answer| {
                let id = commit.metadata.commit_id;
                match streams.get(&commit.key).and_then(|s| s.iter().find(|c| c.metadata.commit_id == id)) {
                    Some(same) => Ok(Put::Repeated { last: same.last() }),
                    None => answer,
                }
            }),
        ),
        (
            "a_put_after_a_conflict_is_stored",
            "a conflict closes the stream",
            Defect::Put(|streams, commit| {
                let met = streams.contains_key(&SampleKey::from("conflicts"));
                if is_conflict(streams, commit) {
                    store(streams, "conflicts".into(), Arc::clone(commit));
                }
                met.then(|| Err(error(ErrorKind::Invalid, commit)))
            }),
        ),
        (
            "a_conflicting_commit_is_stored_at_the_next_sequence",
            "a commit id that lost is burnt",
            Defect::Put(|streams, commit| {
                let burnt = SampleKey::from(&*commit.metadata.commit_id.to_string());
                if is_conflict(streams, commit) {
                    store(streams, burnt, Arc::clone(commit));
                    return None;
                }
                let conflict = Put::Conflict(Conflict { existing: None, head: None });
                streams.contains_key(&burnt).then_some(Ok(conflict))
            }),
        ),
        (
            "a_put_at_a_taken_sequence_with_another_previous_is_a_conflict",
            "the previous commit is compared before the sequence",
            Defect::Put(|streams, commit| {
                let previous = commit.previous?;
                let known = streams.get(&commit.key)?.iter().any(|c| c.metadata.commit_id == previous);
                (!known).then(|| Err(error(ErrorKind::Diverged, commit)))
            }),
        ),
        (
            "a_hundred_conflicts_change_nothing",
            "the 70th conflict overwrites",
            Defect::Put(|streams, commit| {
                let met = SampleKey::from("conflicts");
                if is_conflict(streams, commit) {
                    store(streams, met.clone(), Arc::clone(commit));
                }
                if streams.get(&met).map_or(0, Vec::len) == 70 {
                    return on_conflict(streams, commit, |stream, place| stream[place] = Arc::clone(commit));
                }
                None
            }),
        ),
        (
            "a_conflicting_commit_is_readable",
            "a handle reads what there was when it was opened",
            Defect::StaleReads,
        ),
        (
            "the_data_of_a_conflict_is_correct",
            "a conflict carries the head of the commit in the way",
            Defect::Answer(|_, _, answer| {
                changed(answer, |conflict| conflict.head = conflict.existing.as_ref().map(|c| c.head()))
            }),
        ),
        (
            "the_data_of_a_conflict_is_correct",
            "a conflict carries the first commit of the stream",
            Defect::Answer(|streams, commit, answer| {
                changed(answer, |conflict| conflict.existing = streams[&commit.key].first().cloned())
            }),
        ),
        (
            "a_put_that_meets_an_unreadable_commit_is_a_conflict",
            "a conflict decodes the commit in the way, and fails",
            Defect::Answer(|streams, commit, answer| match answer {
                Ok(Put::Conflict(_)) if streams[&commit.key].iter().any(|c| unreadable(c)) => {
                    Err(error(ErrorKind::Corrupt, commit))
                }
                answer => answer,
            }),
        ),
        (
            "a_conflict_carries_the_commit_in_the_way",
            "a conflict carries no commit",
            Defect::Answer(|_, _, answer| changed(answer, |conflict| conflict.existing = None)),
        ),
        (
            "a_conflict_carries_the_commit_whole",
            "a conflict carries the first event of the commit",
            Defect::Answer(|_, _, answer| {
                changed(answer, |conflict| conflict.existing = conflict.existing.as_ref().map(|c| cut(c, 1)))
            }),
        ),
        (
            "a_conflict_carries_the_commit_at_its_sequence",
            "a conflict carries the latest commit",
            Defect::Answer(|streams, commit, answer| {
                changed(answer, |conflict| conflict.existing = streams[&commit.key].last().cloned())
            }),
        ),
        (
            "losers_of_a_race_get_the_winning_commit",
            "a conflict carries the commit that was put",
            Defect::Answer(|_, commit, answer| {
                changed(answer, |conflict| conflict.existing = Some(Arc::clone(commit)))
            }),
        ),
        (
            "a_conflict_inside_a_commit_carries_that_commit",
            "a conflict inside a commit carries the one before",
            Defect::Answer(|streams, commit, answer| {
                changed(answer, |conflict| conflict.existing = streams[&commit.key].first().cloned())
            }),
        ),
        (
            "a_conflict_carries_the_head",
            "a conflict carries no head",
            Defect::Answer(|_, _, answer| changed(answer, |conflict| conflict.head = None)),
        ),
        (
            "a_conflict_carries_the_head_of_the_latest_commit",
            "a conflict carries the head of the commit in the way",
            Defect::Answer(|_, _, answer| {
                changed(answer, |conflict| conflict.head = conflict.existing.as_ref().map(|c| c.head()))
            }),
        ),
        (
            "a_conflict_carries_the_head_of_the_latest_commit",
            "the head in a conflict has no commit id",
            Defect::Answer(|_, _, answer| {
                changed(answer, |conflict| {
                    conflict.head = conflict.head.map(|head| Head { commit_id: None, ..head });
                })
            }),
        ),
    ]
}

fn repeats() -> Vec<Proof> {
    /// A repeated put that is answered as a conflict if `unknown`.
    macro_rules! unknown {
        ($unknown:expr) => {
            Defect::Answer(|streams, commit, answer| {
                let unknown: fn(&Streams, &Arc<C>) -> bool = $unknown;
                match answer {
                    Ok(Put::Repeated { .. }) if unknown(streams, commit) => {
                        Ok(Put::Conflict(Conflict { existing: None, head: None }))
                    }
                    answer => answer,
                }
            })
        };
    }
    vec![
        ("a_second_put_of_the_only_commit_is_repeated", "a lost reply is a conflict", unknown!(|_, _| true)),
        (
            "a_second_put_of_the_latest_commit_is_repeated",
            "a lost reply is answered as if it were stored now",
            Defect::Answer(|_, _, answer| match answer {
                Ok(Put::Repeated { .. }) => Ok(Put::Stored),
                answer => answer,
            }),
        ),
        (
            "a_second_put_of_an_earlier_commit_is_repeated",
            "only the latest commit is recognised",
            unknown!(|streams, commit| !at_the_latest(streams, commit)),
        ),
        (
            "a_second_put_of_many_events_is_repeated",
            "only commits of one event are recognised",
            unknown!(|_, commit| commit.len() > 1),
        ),
        (
            "a_second_put_stores_no_second_copy",
            "a put again is appended again",
            Defect::Put(|streams, commit| {
                let answer = judge(streams.get(&commit.key).map_or(&[], Vec::as_slice), commit);
                if let Ok(Put::Repeated { .. }) = answer {
                    store(streams, commit.key.clone(), Arc::clone(commit));
                    return Some(answer);
                }
                None
            }),
        ),
        (
            "a_second_put_through_another_handle_is_repeated",
            "a handle recognises its own commits",
            Defect::OwnRepeats,
        ),
        (
            "concurrent_puts_of_one_commit_store_it_once",
            "a put looks first and stores later",
            Defect::CheckThenStore,
        ),
        (
            "a_second_put_is_recognised_by_its_commit_id",
            "a put again is known by its payloads",
            unknown!(|streams, commit| !streams[&commit.key].iter().any(|c| c.payloads == commit.payloads)),
        ),
        (
            "a_second_put_returns_the_last_stored_sequence",
            "a put again tells the last sequence that was put",
            Defect::Answer(|_, commit, answer| match answer {
                Ok(Put::Repeated { .. }) => Ok(Put::Repeated { last: commit.last() }),
                answer => answer,
            }),
        ),
        (
            "a_second_put_with_another_previous_is_repeated",
            "a put again is known by its previous commit too",
            unknown!(|streams, commit| {
                !streams[&commit.key].iter().any(|c| c.is(commit) && c.previous == commit.previous)
            }),
        ),
        (
            "a_second_put_does_not_change_the_head",
            "a put again cuts the stream there",
            Defect::Put(|streams, commit| {
                let stream = streams.get_mut(&commit.key)?;
                if let Some(place) = stream.iter().position(|c| c.is(commit)) {
                    stream.truncate(place + 1);
                }
                None
            }),
        ),
        (
            "a_second_put_of_an_unreadable_commit_is_repeated",
            "a put again decodes the commit, and fails",
            Defect::Answer(|_, commit, answer| match answer {
                Ok(Put::Repeated { .. }) if unreadable(commit) => Err(error(ErrorKind::Corrupt, commit)),
                answer => answer,
            }),
        ),
    ]
}

fn judged(streams: &Streams, commit: &Arc<C>) -> Answer {
    judge(streams.get(&commit.key).map_or(&[], Vec::as_slice), commit)
}

pub(crate) fn is_conflict(streams: &Streams, commit: &Arc<C>) -> bool {
    matches!(judged(streams, commit), Ok(Put::Conflict(_)))
}

/// Changes the stream at the index of the conflicting commit, and answers with the conflict.
fn on_conflict(
    streams: &mut Streams,
    commit: &Arc<C>,
    wrong: impl FnOnce(&mut Vec<Arc<C>>, usize),
) -> Option<Answer> {
    let answer = judged(streams, commit);
    if !matches!(answer, Ok(Put::Conflict(_))) {
        return None;
    }
    let stream = streams.get_mut(&commit.key)?;
    let place = stream.iter().position(|c| c.last().number() >= commit.first.number())?;
    wrong(stream, place);
    Some(answer)
}

fn at_the_latest(streams: &Streams, commit: &Arc<C>) -> bool {
    streams[&commit.key].last().is_some_and(|last| last.first.number() == commit.first.number())
}

fn changed(answer: Answer, change: impl FnOnce(&mut Conflict<SampleKey, super::S, Sample>)) -> Answer {
    answer.map(|put| match put {
        Put::Conflict(mut conflict) => {
            change(&mut conflict);
            Put::Conflict(conflict)
        }
        put => put,
    })
}

fn unreadable(commit: &C) -> bool {
    commit.payloads.iter().any(|payload| matches!(payload, Sample::Unreadable(_)))
}

fn size(payload: &Sample) -> usize {
    if let Sample::Text(text) = payload { text.len() } else { 0 }
}

pub(crate) fn cut_texts(commit: &mut C, letters: usize) {
    for payload in &mut commit.payloads {
        if let Sample::Text(text) = payload {
            *text = text.chars().take(letters).collect();
        }
    }
}
