//! Proofs of the rules about the heads after the last commits.

use eventsrc_core::{ErrorKind, Head, StorageError};
use eventsrc_testkit::conformance::Sample;

use super::puts::Proof;
use super::{C, Defect, corrupt};

pub(crate) fn proofs() -> Vec<Proof> {
    vec![
        (
            "recent_is_newest_first",
            "the oldest head comes first",
            Defect::Recent(|commits, count| {
                let begin = commits.len().saturating_sub(count);
                Ok(commits[begin..].iter().map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_has_the_end_of_each_commit",
            "a head is the first event of its commit",
            Defect::Recent(|commits, count| {
                let head = |commit: &C| Head { sequence: commit.first, ..commit.head() };
                Ok(commits.iter().rev().take(count).map(|commit| head(commit)).collect())
            }),
        ),
        (
            "recent_has_the_end_of_each_commit",
            "every head has the time of the last commit",
            Defect::Recent(|commits, count| {
                let time = commits.last().map(|last| last.time);
                let head = |commit: &C| Head { time: time.unwrap_or(commit.time), ..commit.head() };
                Ok(commits.iter().rev().take(count).map(|commit| head(commit)).collect())
            }),
        ),
        (
            "recent_has_the_end_of_each_commit",
            "heads have no commit ids",
            Defect::Recent(|commits, count| {
                let head = |commit: &C| Head { commit_id: None, ..commit.head() };
                Ok(commits.iter().rev().take(count).map(|commit| head(commit)).collect())
            }),
        ),
        (
            "recent_returns_at_most_as_many_as_asked_for",
            "events are counted, and not commits",
            Defect::Recent(|commits, count| {
                let mut events = 0;
                let newest_first = commits.iter().rev().take_while(|commit| {
                    let is_within = events < count;
                    events += commit.len();
                    is_within
                });
                Ok(newest_first.map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_returns_at_most_as_many_as_asked_for",
            "all heads come",
            Defect::Recent(|commits, _| Ok(commits.iter().rev().map(|commit| commit.head()).collect())),
        ),
        (
            "recent_returns_fewer_if_the_stream_has_fewer",
            "counts are signed numbers of 64 bits",
            Defect::Recent(|commits, count| {
                let count = usize::try_from(count as i64).unwrap_or(0);
                Ok(commits.iter().rev().take(count).map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_of_no_commits_is_empty",
            "there is one head at least",
            Defect::Recent(|commits, count| {
                Ok(commits.iter().rev().take(count.max(1)).map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_is_empty_without_events",
            "a stream without events is an error",
            Defect::Recent(|commits, count| match commits {
                [] if count > 0 => Err(StorageError::new(ErrorKind::Invalid, "no such stream")),
                _ => Ok(commits.iter().rev().take(count).map(|commit| commit.head()).collect()),
            }),
        ),
        (
            "recent_agrees_with_latest",
            "the last commit is left out",
            Defect::Recent(|commits, count| {
                Ok(commits.iter().rev().skip(1).take(count).map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_of_300_commits_is_complete",
            "there are 256 heads at most",
            Defect::Recent(|commits, count| {
                Ok(commits.iter().rev().take(count.min(256)).map(|commit| commit.head()).collect())
            }),
        ),
        (
            "recent_does_not_decode",
            "`recent` decodes the commits",
            Defect::Recent(|commits, count| {
                let newest_first = commits.iter().rev().take(count);
                newest_first
                    .map(|commit| match commit.payloads.iter().position(unreadable) {
                        Some(place) => Err(corrupt(commit, place)),
                        None => Ok(commit.head()),
                    })
                    .collect()
            }),
        ),
    ]
}

fn unreadable(payload: &Sample) -> bool {
    matches!(payload, Sample::Unreadable(_))
}
