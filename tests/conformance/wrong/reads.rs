//! Proofs of the rules about reads and scans.

use std::sync::Arc;

use eventsrc_core::stream::Zone;
use eventsrc_core::{ErrorKind, Head, Sequence, StorageError, Timestamp};
use eventsrc_testkit::conformance::Sample;

use super::puts::Proof;
use super::{C, Defect, S, corrupt, cut};

pub(crate) fn proofs() -> Vec<Proof> {
    [latest(), events(), unreadable(), dropped()].concat()
}

fn latest() -> Vec<Proof> {
    vec![
        (
            "latest_is_none_without_events",
            "the head of an empty stream is its first sequence",
            Defect::Latest(|commits| {
                let sequence = S::first(Zone(0));
                let first = Head { sequence, time: Timestamp::UNIX_EPOCH, commit_id: None };
                Ok(Some(commits.last().map_or(first, |commit| commit.head())))
            }),
        ),
        (
            "latest_is_the_last_sequence_of_the_commit",
            "the head is the first event of the last commit",
            Defect::Latest(|commits| {
                Ok(commits.last().map(|commit| Head { sequence: commit.first, ..commit.head() }))
            }),
        ),
        (
            "latest_has_the_time_of_the_last_commit",
            "the head has the time of the first commit",
            Defect::Latest(|commits| {
                Ok(commits.last().map(|commit| Head { time: commits[0].time, ..commit.head() }))
            }),
        ),
        (
            "latest_has_the_id_of_the_last_commit",
            "the head has the id of the first commit",
            Defect::Latest(|commits| {
                let first = commits.first().map(|commit| commit.metadata.commit_id);
                Ok(commits.last().map(|commit| Head { commit_id: first, ..commit.head() }))
            }),
        ),
        (
            "latest_has_the_id_of_the_last_commit",
            "the head has no commit id",
            Defect::Latest(|commits| {
                Ok(commits.last().map(|commit| Head { commit_id: None, ..commit.head() }))
            }),
        ),
        (
            "latest_advances_with_each_commit",
            "sequences are compared as texts",
            Defect::Latest(|commits| {
                Ok(commits.iter().max_by_key(|commit| commit.last().to_string()).map(|commit| commit.head()))
            }),
        ),
        (
            "latest_is_ordered_by_sequence_not_by_time",
            "the head is the commit with the latest time",
            Defect::Latest(|commits| {
                Ok(commits.iter().max_by_key(|commit| commit.time).map(|commit| commit.head()))
            }),
        ),
        (
            "a_put_right_after_latest_is_stored",
            "the head lies inside the last commit",
            Defect::Latest(|commits| {
                Ok(commits.last().map(|commit| cut(commit, (commit.len() - 1).max(1)).head()))
            }),
        ),
        (
            "latest_does_not_decode",
            "`latest` decodes the last commit",
            Defect::Latest(|commits| match commits.last() {
                Some(last) if broken(last) => Err(corrupt(last, 0)),
                last => Ok(last.map(|commit| commit.head())),
            }),
        ),
        (
            "an_unreadable_event_does_not_stop_writers",
            "a put decodes the commit before it",
            Defect::Put(|streams, commit| {
                let last = streams.get(&commit.key)?.last()?;
                broken(last).then(|| Err(corrupt(last, 0)))
            }),
        ),
    ]
}

fn events() -> Vec<Proof> {
    vec![
        (
            "events_are_in_order_without_holes_or_repetitions",
            "events are sorted by the text of their sequence",
            Defect::Read(|mut commits, from| {
                commits.sort_by_key(|commit| commit.first.to_string());
                (commits, from)
            }),
        ),
        (
            "events_are_in_order_without_holes_or_repetitions",
            "the 17th commit, the first of a page, is left out",
            Defect::Read(|mut commits, from| {
                if commits.len() > 16 {
                    commits.remove(16);
                }
                (commits, from)
            }),
        ),
        (
            "events_are_in_order_without_holes_or_repetitions",
            "the last commit of a page is also the first of the next",
            Defect::Read(|mut commits, from| {
                if commits.len() > 16 {
                    commits.insert(16, Arc::clone(&commits[15]));
                }
                (commits, from)
            }),
        ),
        ("a_long_stream_comes_in_several_pages", "all comes in one page", Defect::OnePage),
        (
            "concurrent_reads_of_one_stream_are_complete",
            "more than 3 readers at once are refused",
            Defect::FewReaders,
        ),
        (
            "events_from_the_first_sequence_are_all",
            "a read from the first sequence begins after it",
            Defect::Read(|commits, from| {
                let from = from.and_then(|s| if s.number() == 1 { s.next(s.zone()) } else { Some(s) });
                (commits, from)
            }),
        ),
        (
            "events_from_the_first_of_a_commit_begin_there",
            "a read from the first of a commit begins with the next commit",
            Defect::Read(|commits, from| {
                (commits.into_iter().filter(|c| Some(c.first) != from || from.is_none()).collect(), from)
            }),
        ),
        (
            "events_from_inside_a_commit_begin_there",
            "a read from inside a commit begins with the next commit",
            Defect::Read(|commits, from| {
                (commits.into_iter().filter(|c| Some(c.first) >= from).collect(), from)
            }),
        ),
        (
            "events_from_inside_a_commit_begin_there",
            "a read from inside a commit begins at its first event",
            Defect::Read(|commits, from| {
                (commits.into_iter().filter(|c| Some(c.last()) >= from).collect(), None)
            }),
        ),
        (
            "events_from_every_index_of_a_long_commit_begin_there",
            "places are bytes of 6 bits",
            Defect::Read(|commits, from| {
                let inside = commits.iter().find(|c| Some(c.first) <= from && from <= Some(c.last()));
                let from = inside.zip(from).map(|(c, from)| {
                    let place = (from.number() - c.first.number()) % 64;
                    S::from_parts(c.first.number() + place, c.first.zone()).expect("in range")
                });
                (commits, from)
            }),
        ),
        (
            "a_long_stream_is_read_from_each_of_its_sequences",
            "a read from the 200th commit or later begins at the 200th",
            Defect::Read(|commits, from| {
                let limit = commits.get(200).map(|commit| commit.first);
                let from = if limit.is_some() { from.min(limit) } else { from };
                (commits, from)
            }),
        ),
        (
            "events_from_the_last_sequence_are_the_last_event",
            "the last sequence is taken for beyond the end",
            Defect::Read(|commits, from| {
                let end = commits.last().map(|commit| commit.last());
                (if from == end { vec![] } else { commits }, from)
            }),
        ),
        (
            "events_from_beyond_the_end_are_empty",
            "a read from right beyond the end gives the last commit",
            Defect::Read(|commits, from| {
                let end = commits.last().map(|c| c.last());
                let beyond = from.zip(end).is_some_and(|(from, end)| from.number() == end.number() + 1);
                (commits, if beyond { end } else { from })
            }),
        ),
        (
            "events_from_far_beyond_the_end_are_empty",
            "sequences have 32 bits",
            Defect::Read(|commits, from| {
                let from = from.and_then(|s| S::from_parts((s.number() as u32).max(1).into(), s.zone()));
                (commits, from.filter(|from| from.number() < u64::from(u32::MAX)))
            }),
        ),
        (
            "events_after_a_commit_are_those_from_the_next_sequence",
            "a read after a commit leaves out the next event",
            Defect::After(|from| from.and_then(|from| from.next(from.zone()))),
        ),
        (
            "events_from_another_zone_begin_at_the_first_not_less",
            "a read goes by the number alone",
            Defect::Read(|commits, from| {
                (commits, from.and_then(|from| S::from_parts(from.number(), Zone(0))))
            }),
        ),
        (
            "a_stream_without_events_is_empty",
            "a stream without events is an error",
            Defect::FailRead(|streams, key, _| !streams.contains_key(key)),
        ),
        (
            "a_stream_without_events_is_empty_from_any_sequence",
            "a sequence that is not there is an error",
            Defect::FailRead(|streams, key, from| from.is_some() && !streams.contains_key(key)),
        ),
        (
            "reading_a_stream_changes_nothing",
            "reading a stream makes it, and it then takes no first commit",
            Defect::ReadsMakeStreams,
        ),
        (
            "a_running_read_continues_during_writes",
            "a read that meets new commits begins anew",
            Defect::ReadBeginsAnew,
        ),
        (
            "a_running_read_continues_during_writes",
            "a commit that came meanwhile is shown in part",
            Defect::LaterPagesAreTorn,
        ),
    ]
}

fn unreadable() -> Vec<Proof> {
    vec![
        (
            "an_unreadable_event_is_a_corrupt_error",
            "an unreadable event is an invalid call",
            Defect::Unreadable(|c, place| Some(named(ErrorKind::Invalid, c, place))),
        ),
        (
            "an_unreadable_event_is_a_corrupt_error",
            "an unreadable event is left out in silence",
            Defect::Unreadable(|_, _| None),
        ),
        (
            "an_unreadable_event_names_its_stream",
            "an unreadable event does not name its stream",
            Defect::Unreadable(|c, _| Some(StorageError::new(ErrorKind::Corrupt, "unreadable").at(c.first))),
        ),
        (
            "an_unreadable_event_names_its_sequence",
            "an unreadable event names the first sequence of its commit",
            Defect::Unreadable(|c, _| Some(named(ErrorKind::Corrupt, c, 0))),
        ),
        (
            "an_unreadable_event_keeps_its_cause",
            "the cause is dropped",
            Defect::Unreadable(|c, place| {
                let sequence = c.events().nth(place)?.sequence();
                Some(StorageError::new(ErrorKind::Corrupt, "unreadable").on(&c.key).at(sequence))
            }),
        ),
        (
            "events_before_an_unreadable_one_are_delivered",
            "a page with an unreadable event is not delivered at all",
            Defect::Read(|commits, from| {
                let broken = commits.iter().position(|c| broken(c)).unwrap_or(0);
                (commits.into_iter().skip(broken).collect(), from)
            }),
        ),
        (
            "events_after_an_unreadable_one_can_be_read",
            "a stream with an unreadable event cannot be read from anywhere",
            Defect::FailRead(|streams, key, _| streams.get(key).is_some_and(|s| s.iter().any(|c| broken(c)))),
        ),
        (
            "an_unreadable_event_stops_its_own_stream_only",
            "an unreadable event stops the reading of all streams",
            Defect::FailRead(|streams, _, _| streams.values().flatten().any(|c| broken(c))),
        ),
    ]
}

fn dropped() -> Vec<Proof> {
    vec![
        (
            "events_may_be_dropped_early",
            "a read keeps the writers' lock until its end",
            Defect::ReadKeepsLockToItsEnd,
        ),
        (
            "dropped_events_release_their_resources",
            "a read that is dropped is not given back",
            Defect::DroppedReadsAreLost,
        ),
        (
            "unread_events_block_no_other_call",
            "a read keeps the writers' lock while it lives",
            Defect::ReadKeepsLock,
        ),
        (
            "a_dropped_latest_blocks_no_other_call",
            "a `latest` that is dropped keeps the lock",
            Defect::DroppedLatestKeepsLock,
        ),
    ]
}

fn broken(commit: &C) -> bool {
    commit.payloads.iter().any(|payload| matches!(payload, Sample::Unreadable(_)))
}

pub(super) fn named(kind: ErrorKind, commit: &C, place: usize) -> StorageError {
    let sequence = commit.events().nth(place).expect("a place in the commit").sequence();
    StorageError::new(kind, "unreadable").on(&commit.key).at(sequence).because("a sample")
}
