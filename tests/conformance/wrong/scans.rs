//! Proofs of the rules about scans.

use std::sync::Arc;

use eventsrc_core::commit::vec1;
use eventsrc_core::storage::Segment;
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, ErrorKind, Metadata, Sequence, Timestamp};
use eventsrc_testkit::conformance::{Sample, SampleKey};

use super::puts::Proof;
use super::reads::named;
use super::{C, Commits, Defect, S, Streams, cut, everything, part};

pub(crate) fn proofs() -> Vec<Proof> {
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
                        commits.clear();
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
            "a_scan_delivers_two_thousand_streams",
            "a scan ends after 1,000 streams",
            Defect::Scan(|streams, segment| {
                let some: Streams = streams.clone().into_iter().take(1_000).collect();
                everything(&some, segment)
            }),
        ),
        (
            "a_scan_returns_commits_unchanged",
            "a scan leaves metadata out",
            Defect::Scan(|streams, segment| {
                each(streams, segment, |_, commits| {
                    commits.iter_mut().for_each(|c| Arc::make_mut(c).metadata.actor = None);
                })
            }),
        ),
        (
            "a_scan_during_writes_delivers_earlier_commits",
            "a commit that came meanwhile is shown in part",
            Defect::LaterPagesAreTorn,
        ),
        (
            "a_scan_agrees_with_the_streams",
            "a scan leaves the last commit of each stream out",
            Defect::Scan(|streams, segment| each(streams, segment, |_, commits| drop(commits.pop()))),
        ),
        (
            "two_segments_are_disjoint_and_complete",
            "every segment is everything",
            Defect::Scan(|streams, _| everything(streams, Segment::ALL)),
        ),
        (
            "three_segments_are_disjoint_and_complete",
            "the last segment is left out",
            Defect::Scan(|streams, segment| {
                if segment.index() + 1 == segment.total() { vec![] } else { everything(streams, segment) }
            }),
        ),
        (
            "seven_segments_are_disjoint_and_complete",
            "there are 4 segments at most",
            Defect::Scan(|streams, segment| {
                let total = segment.total().min(4);
                let same = Segment::split(total).nth((segment.index() % total) as usize);
                same.map_or_else(Vec::new, |same| everything(streams, same))
            }),
        ),
        (
            "more_segments_than_streams_are_complete",
            "segments beyond the 128th are left out",
            Defect::Scan(
                |streams, segment| {
                    if segment.index() < 128 { everything(streams, segment) } else { vec![] }
                },
            ),
        ),
        (
            "segments_through_different_handles_are_complete",
            "a handle scans segment 0 of its own",
            Defect::Scan(|streams, segment| {
                let first = Segment::split(segment.total()).next();
                first.map_or_else(Vec::new, |first| everything(streams, first))
            }),
        ),
        ("concurrent_segments_are_complete", "more than 3 readers at once are refused", Defect::FewReaders),
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

/// A commit that no writer put.
fn strange() -> Arc<C> {
    Arc::new(C {
        key: "strange".into(),
        first: S::first(Zone(0)),
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(uuid::Uuid::nil())),
        payloads: vec1![Sample::Nothing].into(),
    })
}
