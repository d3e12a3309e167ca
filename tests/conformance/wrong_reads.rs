//! What each rule about reading and scanning is proved against.

use std::sync::Arc;

use eventsrc_core::{CommitId, ErrorKind, Head, Segment, Sequence, StorageError, Timestamp, Token, Zone};
use eventsrc_testkit::conformance::{Sample, SampleKey};

use super::wrong::{C, Commits, Defect, S, Streams, corrupt, cut, everything, part};
use super::wrong_puts::{Proof, cut_texts};

pub(super) fn proofs() -> Vec<Proof> {
    [latest(), events(), as_put(), texts_and_numbers(), unreadable(), dropped()].concat()
}

fn latest() -> Vec<Proof> {
    vec![
        (
            "latest_is_none_without_events",
            "the head of an empty stream is its first sequence",
            Defect::Latest(|commits| {
                let first = Head { sequence: S::first(Zone(0)), time: Timestamp::UNIX_EPOCH };
                Ok(Some(commits.last().map_or(first, |commit| commit.head())))
            }),
        ),
        (
            "latest_is_the_last_sequence_of_the_commit",
            "the head is the first event of the last commit",
            Defect::Latest(|commits| {
                Ok(commits.last().map(|commit| Head { sequence: commit.first, time: commit.time }))
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
            "latest_moves_with_each_commit",
            "sequences are compared as texts",
            Defect::Latest(|commits| {
                Ok(commits.iter().max_by_key(|commit| commit.last().to_string()).map(|commit| commit.head()))
            }),
        ),
        (
            "latest_goes_by_sequence_and_not_by_time",
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
        ("many_may_read_one_stream_at_once", "more than 3 readers at once are refused", Defect::FewReaders),
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
            "events_from_every_place_of_a_long_commit_begin_there",
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
            "events_from_before_the_beginning_are_all",
            "a read that does not find its beginning is empty",
            Defect::Read(|commits, from| {
                let before = from.is_some() && commits.first().map(|c| c.first) > from;
                (if before { vec![] } else { commits }, from)
            }),
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
            "reading a stream makes it, and it then begins at 1",
            Defect::ReadsMakeStreams,
        ),
        (
            "events_that_have_begun_go_on_beside_a_writer",
            "a read that meets new commits begins anew",
            Defect::ReadBeginsAnew,
        ),
        (
            "events_that_have_begun_go_on_beside_a_writer",
            "a commit that came meanwhile is shown in part",
            Defect::LaterPagesAreTorn,
        ),
    ]
}

fn as_put() -> Vec<Proof> {
    vec![
        ("keys_come_back", "keys come back trimmed", Defect::Keep(|c| c.key.id = c.key.id.trim_end().into())),
        (
            "large_sequences_come_back",
            "sequences are kept as floating point",
            Defect::Keep(|c| c.first = at(c.first.number() as f64 as u64, c.first.zone())),
        ),
        (
            "zones_come_back",
            "zones have a byte",
            Defect::Keep(|c| c.first = at(c.first.number(), Zone(c.first.zone().0 & 0xff))),
        ),
        (
            "times_come_back_to_the_microsecond",
            "times are kept in milliseconds",
            Defect::Keep(|c| c.time = micro(c.time.as_millisecond() * 1_000)),
        ),
        (
            "times_before_1970_come_back",
            "times before 1970 are 1970",
            Defect::Keep(|c| c.time = c.time.max(Timestamp::UNIX_EPOCH)),
        ),
        (
            "times_of_the_far_future_come_back",
            "times are kept in nanoseconds of 64 bits",
            Defect::Keep(|c| c.time = c.time.min(micro(i64::MAX / 1_000))),
        ),
        (
            "times_finer_than_a_microsecond_come_back_rounded_down",
            "times are rounded up",
            Defect::Keep(|c| c.time = micro(c.time.as_microsecond() + 1)),
        ),
        (
            "times_that_run_backwards_come_back",
            "a time is not earlier than the one before",
            Defect::Read(|mut commits, from| {
                for at in 1..commits.len() {
                    let before = commits[at - 1].time;
                    let commit = Arc::make_mut(&mut commits[at]);
                    commit.time = commit.time.max(before);
                }
                (commits, from)
            }),
        ),
        (
            "commit_ids_of_every_kind_come_back",
            "commit ids are made UUIDs of version 7",
            Defect::Keep(|c| {
                let bits = c.metadata.commit_id.0.as_u128();
                let version = 0xf000 << 64;
                c.metadata.commit_id = CommitId(uuid::Uuid::from_u128(bits & !version | 0x7000 << 64));
            }),
        ),
        (
            "the_correlation_id_comes_back",
            "the correlation id is lost",
            Defect::Keep(|c| c.metadata.correlation_id = None),
        ),
        (
            "the_causation_id_comes_back",
            "the causation id is lost",
            Defect::Keep(|c| c.metadata.causation_id = None),
        ),
        ("the_actor_comes_back", "the actor is lost", Defect::Keep(|c| c.metadata.actor = None)),
        (
            "the_dependencies_come_back",
            "the dependencies are lost",
            Defect::Keep(|c| c.metadata.dependencies = Token::default()),
        ),
        (
            "dependencies_on_many_streams_come_back",
            "zones of dependencies are lost",
            Defect::Keep(|c| {
                let whole = std::mem::take(&mut c.metadata.dependencies);
                for (name, number, _) in whole.positions() {
                    let one = Token::claimed(name, at(number, Zone(0))).expect("well-formed");
                    c.metadata.dependencies = std::mem::take(&mut c.metadata.dependencies).join(&one);
                }
            }),
        ),
        (
            "all_metadata_together_comes_back",
            "correlation and causation change places",
            Defect::Keep(|c| std::mem::swap(&mut c.metadata.correlation_id, &mut c.metadata.causation_id)),
        ),
        (
            "unicode_metadata_comes_back",
            "metadata is ASCII",
            Defect::Keep(|c| {
                c.metadata.actor =
                    c.metadata.actor.as_ref().map(|text| text.replace(|c: char| !c.is_ascii(), "?"))
            }),
        ),
        (
            "an_empty_text_is_not_none",
            "an empty text is none",
            Defect::Keep(|c| c.metadata.actor = c.metadata.actor.take().filter(|text| !text.is_empty())),
        ),
        (
            "long_metadata_comes_back",
            "metadata is cut to 4,096 letters",
            Defect::Keep(|c| {
                c.metadata.actor = c.metadata.actor.as_ref().map(|text| text.chars().take(4_096).collect())
            }),
        ),
    ]
}

fn texts_and_numbers() -> Vec<Proof> {
    fn texts(commit: &mut C, change: impl Fn(&str) -> String) {
        for payload in &mut commit.payloads {
            if let Sample::Text(text) = payload {
                *text = change(text);
            }
        }
    }
    vec![
        (
            "empty_payloads_come_back",
            "empty payloads are left out",
            Defect::Keep(|c| {
                c.payloads
                    .iter_mut()
                    .filter(|p| **p == Sample::Bytes(vec![]))
                    .for_each(|p| *p = Sample::Nothing);
            }),
        ),
        (
            "texts_of_every_character_come_back",
            "texts end at U+0000",
            Defect::Keep(|c| texts(c, |text| text.split('\0').next().unwrap_or_default().to_owned())),
        ),
        (
            "texts_of_every_character_come_back",
            "texts are brought to one form of Unicode",
            Defect::Keep(|c| texts(c, |text| text.replace("e\u{301}", "\u{e9}"))),
        ),
        (
            "bytes_of_every_value_come_back",
            "bytes are taken for text",
            Defect::Keep(|c| {
                for payload in &mut c.payloads {
                    if let Sample::Bytes(bytes) = payload {
                        *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                    }
                }
            }),
        ),
        (
            "numbers_at_the_ends_of_their_range_come_back",
            "numbers are kept as floating point",
            Defect::Keep(|c| {
                for payload in &mut c.payloads {
                    if let Sample::Numbers { unsigned, .. } = payload {
                        *unsigned = *unsigned as f64 as u64;
                    }
                }
            }),
        ),
        (
            "payloads_of_different_sizes_come_back",
            "lengths have 16 bits",
            Defect::Keep(|c| cut_texts(c, 65_535)),
        ),
        (
            "events_of_a_commit_come_back_in_order",
            "the events of a commit are sorted",
            Defect::Keep(|c| c.payloads.sort_by_key(|payload| format!("{payload:?}"))),
        ),
        (
            "events_of_a_commit_come_back_in_order",
            "an event that is equal to the one before is left out",
            Defect::Keep(|c| {
                let mut payloads = c.payloads.clone().into_vec();
                payloads.dedup();
                c.payloads = payloads.try_into().expect("one is left");
            }),
        ),
        (
            "events_come_back_in_their_commits",
            "commits of the same time are joined",
            Defect::Read(|commits, from| {
                let mut joined: Commits = vec![];
                for commit in commits {
                    match joined.last_mut() {
                        Some(last) if last.time == commit.time => {
                            Arc::make_mut(last).payloads.extend(commit.payloads.iter().cloned());
                        }
                        _ => joined.push(commit),
                    }
                }
                (joined, from)
            }),
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
            "what_lies_before_an_unreadable_event_is_delivered",
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
            "dropped_events_free_what_they_hold",
            "a read that is dropped is not given back",
            Defect::DroppedReadsAreLost,
        ),
        (
            "events_that_wait_hold_nobody_up",
            "a read keeps the writers' lock while it lives",
            Defect::ReadKeepsLock,
        ),
        (
            "a_dropped_latest_holds_nobody_up",
            "a `latest` that is dropped keeps the lock",
            Defect::DroppedLatestKeepsLock,
        ),
    ]
}

pub(super) fn scans() -> Vec<Proof> {
    fn each(streams: &Streams, segment: Segment, change: impl Fn(&SampleKey, &mut Commits)) -> Commits {
        let changed = streams.iter().filter(|(key, _)| part(key, segment)).flat_map(|(key, commits)| {
            let mut commits = commits.clone();
            change(key, &mut commits);
            commits
        });
        changed.collect()
    }
    vec![
        (
            "an_empty_storage_scans_as_empty",
            "an empty storage has a stream all the same",
            Defect::Scan(
                |streams, segment| {
                    if streams.is_empty() { vec![strange()] } else { everything(streams, segment) }
                },
            ),
        ),
        (
            "a_scan_delivers_every_event",
            "the last stream is left out",
            Defect::Scan(|streams, segment| {
                let last = streams.keys().last().cloned();
                each(streams, segment, |key, commits| {
                    if Some(key) == last.as_ref() {
                        commits.clear()
                    }
                })
            }),
        ),
        (
            "a_scan_delivers_what_was_just_stored",
            "a handle scans what there was when it was opened",
            Defect::StaleReads,
        ),
        (
            "a_scan_delivers_a_commit_of_1000_events",
            "commits are cut to 999 events",
            Defect::Scan(|streams, segment| {
                each(streams, segment, |_, commits| commits.iter_mut().for_each(|c| *c = cut(c, 999)))
            }),
        ),
        (
            "a_scan_delivers_streams_that_begin_later",
            "streams without a first event are left out",
            Defect::Scan(|streams, segment| {
                each(streams, segment, |_, commits| {
                    if commits[0].first.number() > 1 {
                        commits.clear();
                    }
                })
            }),
        ),
        (
            "a_scan_delivers_two_thousand_streams",
            "a scan ends after 1,000 streams",
            Defect::Scan(|streams, segment| {
                let some: Streams = streams.clone().into_iter().take(1_000).collect();
                everything(&some, segment)
            }),
        ),
        (
            "a_scan_gives_commits_back_as_they_were_put",
            "a scan leaves metadata out",
            Defect::Scan(|streams, segment| {
                each(streams, segment, |_, commits| {
                    commits.iter_mut().for_each(|c| Arc::make_mut(c).metadata.actor = None);
                })
            }),
        ),
        (
            "a_scan_beside_writers_delivers_what_was_there",
            "a commit that came meanwhile is shown in part",
            Defect::LaterPagesAreTorn,
        ),
        (
            "a_scan_agrees_with_the_streams",
            "a scan leaves the last commit of each stream out",
            Defect::Scan(|streams, segment| each(streams, segment, |_, commits| drop(commits.pop()))),
        ),
        (
            "two_segments_are_disjoint_and_everything",
            "every segment is everything",
            Defect::Scan(|streams, _| everything(streams, Segment::ALL)),
        ),
        (
            "three_segments_are_disjoint_and_everything",
            "the last segment is left out",
            Defect::Scan(|streams, segment| {
                if segment.index() + 1 == segment.total() { vec![] } else { everything(streams, segment) }
            }),
        ),
        (
            "seven_segments_are_disjoint_and_everything",
            "there are 4 segments at most",
            Defect::Scan(|streams, segment| {
                let total = segment.total().min(4);
                let same = Segment::split(total).nth((segment.index() % total) as usize);
                same.map_or_else(Vec::new, |same| everything(streams, same))
            }),
        ),
        (
            "more_segments_than_streams_are_everything",
            "segments beyond the 128th are left out",
            Defect::Scan(
                |streams, segment| {
                    if segment.index() < 128 { everything(streams, segment) } else { vec![] }
                },
            ),
        ),
        (
            "segments_through_different_handles_are_everything",
            "a handle scans segment 0 of its own",
            Defect::Scan(|streams, segment| {
                let first = Segment::split(segment.total()).next();
                first.map_or_else(Vec::new, |first| everything(streams, first))
            }),
        ),
        (
            "segments_side_by_side_are_everything",
            "more than 3 readers at once are refused",
            Defect::FewReaders,
        ),
        (
            "a_stream_lies_in_one_segment",
            "commits are shared out, not streams",
            Defect::Scan(|streams, segment| {
                let commits = everything(streams, Segment::ALL);
                let ours =
                    |c: &Arc<C>| c.first.number() % u64::from(segment.total()) == u64::from(segment.index());
                commits.into_iter().filter(ours).collect()
            }),
        ),
        (
            "scanned_streams_are_in_order",
            "a scan is in the order of the times, and so of the texts of sequences",
            Defect::Scan(|streams, segment| {
                let mut commits = everything(streams, segment);
                commits.sort_by_key(|commit| commit.first.to_string());
                commits
            }),
        ),
        (
            "a_scan_may_be_dropped_early",
            "a scan that is dropped is not given back",
            Defect::DroppedReadsAreLost,
        ),
        ("a_scan_never_sees_a_part_of_a_commit", "events are stored one by one", Defect::TornEvents),
        (
            "a_scan_names_an_unreadable_event",
            "an unreadable event is left out in silence",
            Defect::Unreadable(|_, _| None),
        ),
        (
            "a_scan_names_an_unreadable_event",
            "an unreadable event names the first sequence of its commit",
            Defect::Unreadable(|c, _| Some(named(ErrorKind::Corrupt, c, 0))),
        ),
    ]
}

fn broken(commit: &C) -> bool {
    commit.payloads.iter().any(|payload| matches!(payload, Sample::Unreadable(_)))
}

fn named(kind: ErrorKind, commit: &C, place: usize) -> StorageError {
    let sequence = commit.events().nth(place).expect("a place in the commit").sequence();
    StorageError::new(kind, "unreadable").on(&commit.key).at(sequence).because("a sample")
}

fn at(number: u64, zone: Zone) -> S {
    S::from_parts(number.clamp(1, i64::MAX as u64 - 10), zone).expect("in range")
}

fn micro(microsecond: i64) -> Timestamp {
    Timestamp::from_microsecond(microsecond).expect("in range")
}

/// A commit that nobody put.
fn strange() -> Arc<C> {
    Arc::new(C {
        key: "strange".into(),
        first: S::first(Zone(0)),
        time: Timestamp::UNIX_EPOCH,
        metadata: eventsrc_core::Metadata::new(CommitId(uuid::Uuid::nil())),
        payloads: eventsrc_core::vec1![Sample::Nothing],
    })
}
