//! Proofs of the rules about the heads of all streams.

use eventsrc_core::storage::Segment;
use eventsrc_core::stream::Zone;
use eventsrc_core::{Head, Sequence, Timestamp};
use eventsrc_testkit::conformance::{Sample, SampleKey};

use super::puts::Proof;
use super::{C, Commits, Defect, Heads, S, Streams, cut, every_head, part};

pub(crate) fn proofs() -> Vec<Proof> {
    [streams(), ends(), pages()].concat()
}

fn streams() -> Vec<Proof> {
    vec![
        (
            "an_empty_storage_has_no_heads",
            "an empty storage has a stream all the same",
            Defect::Heads(|streams, segment| {
                let sequence = S::first(Zone(0));
                let strange = Head { sequence, time: Timestamp::UNIX_EPOCH, commit_id: None };
                if streams.is_empty() {
                    vec![("strange".into(), strange)]
                } else {
                    every_head(streams, segment)
                }
            }),
        ),
        (
            "heads_deliver_every_stream_once",
            "a stream has a head for each of its commits",
            Defect::Heads(|streams, segment| {
                let each = streams.iter().filter(|(key, _)| part(key, segment));
                each.flat_map(|(key, commits)| commits.iter().map(|c| (key.clone(), c.head()))).collect()
            }),
        ),
        (
            "heads_deliver_every_stream_once",
            "the last stream is left out",
            Defect::Heads(|streams, segment| {
                let mut heads = every_head(streams, segment);
                heads.pop();
                heads
            }),
        ),
        (
            "heads_deliver_what_was_just_stored",
            "a handle has the heads that there were when it was opened",
            Defect::StaleReads,
        ),
        (
            "heads_return_keys_unchanged",
            "keys are cut at their first slash",
            Defect::Heads(|streams, segment| {
                let cut =
                    |key: SampleKey| (&*key.category, key.id.split('/').next().unwrap_or_default()).into();
                every_head(streams, segment).into_iter().map(|(key, head)| (cut(key), head)).collect()
            }),
        ),
        (
            "heads_during_writes_deliver_every_stream_once",
            "pages are found by counting streams, which moves when there are more",
            Defect::HeadsByCount,
        ),
        (
            "heads_of_segments_are_disjoint_and_complete",
            "every segment is everything",
            Defect::Heads(|streams, _| every_head(streams, Segment::ALL)),
        ),
        (
            "heads_of_segments_are_disjoint_and_complete",
            "the last segment is left out",
            Defect::Heads(|streams, segment| {
                if segment.index() + 1 == segment.total() { vec![] } else { every_head(streams, segment) }
            }),
        ),
        (
            "heads_cover_the_streams_of_a_scan",
            "streams are shared out in another way than for a scan",
            Defect::Heads(|streams, segment| {
                let mirrored = segment.total() - 1 - segment.index();
                let other = Segment::split(segment.total()).nth(mirrored as usize);
                other.map_or_else(Vec::new, |other| every_head(streams, other))
            }),
        ),
    ]
}

fn ends() -> Vec<Proof> {
    vec![
        (
            "heads_are_what_latest_answers",
            "a head is the first event of the last commit",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| {
                    commits.last().map(|commit| Head { sequence: commit.first, ..commit.head() })
                })
            }),
        ),
        (
            "heads_are_what_latest_answers",
            "a head is the commit with the latest time",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| commits.iter().max_by_key(|c| c.time).map(|c| c.head()))
            }),
        ),
        (
            "heads_are_what_latest_answers",
            "sequences are compared as texts",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| {
                    commits.iter().max_by_key(|c| c.last().to_string()).map(|c| c.head())
                })
            }),
        ),
        (
            "heads_are_what_latest_answers",
            "a head has no commit id",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| Some(Head { commit_id: None, ..commits.last()?.head() }))
            }),
        ),
        (
            "heads_are_what_latest_answers",
            "a head knows no zone",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| {
                    let head = commits.last()?.head();
                    Some(Head { sequence: S::from_parts(head.sequence.number(), Zone(0))?, ..head })
                })
            }),
        ),
        ("a_head_never_lies_inside_a_commit", "events are stored one by one", Defect::TornEvents),
        (
            "heads_do_not_decode",
            "the head of a stream that ends with an unreadable event is left out",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| commits.last().filter(|c| !ends_broken(c)).map(|c| c.head()))
            }),
        ),
        (
            "heads_do_not_decode",
            "a head is the last event that can be read",
            Defect::Heads(|streams, segment| {
                each(streams, segment, |commits| {
                    let last = commits.last()?;
                    let readable = last.payloads.iter().take_while(|payload| !unreadable(payload)).count();
                    Some(if readable == 0 {
                        commits.iter().rev().nth(1)?.head()
                    } else {
                        cut(last, readable).head()
                    })
                })
            }),
        ),
    ]
}

fn pages() -> Vec<Proof> {
    vec![
        ("heads_of_many_streams_come_in_several_pages", "all heads come in one page", Defect::OnePage),
        (
            "heads_of_many_streams_come_in_several_pages",
            "heads end after 1,000 streams",
            Defect::Heads(|streams, segment| every_head(streams, segment).into_iter().take(1_000).collect()),
        ),
        (
            "heads_may_be_dropped_early",
            "heads that are dropped are not given back",
            Defect::DroppedReadsAreLost,
        ),
    ]
}

/// The heads of a segment, where `head` finds the head of a stream.
fn each(streams: &Streams, segment: Segment, head: impl Fn(&Commits) -> Option<Head<S>>) -> Heads {
    let here = streams.iter().filter(|(key, _)| part(key, segment));
    here.filter_map(|(key, commits)| Some((key.clone(), head(commits)?))).collect()
}

fn unreadable(payload: &Sample) -> bool {
    matches!(payload, Sample::Unreadable(_))
}

fn ends_broken(commit: &C) -> bool {
    unreadable(&commit.payloads[commit.payloads.len() - 1])
}
