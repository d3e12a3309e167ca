//! Proofs of the rules about writers that know another history of the stream.

use std::sync::Arc;

use eventsrc_core::storage::{Diverged, Put};
use eventsrc_core::{ErrorKind, Sequence, StorageError};

use super::puts::Proof;
use super::{Answer, C, Defect, S, Streams, error, judge, store};

pub(crate) fn proofs() -> Vec<Proof> {
    [holes(), other_previous(), errors()].concat()
}

fn holes() -> Vec<Proof> {
    vec![
        (
            "a_put_that_leaves_a_hole_of_one_diverges",
            "holes are not seen",
            Defect::Put(|streams, commit| hole(streams, commit).is_some().then_some(Ok(Put::Stored))),
        ),
        (
            "a_put_that_leaves_a_hole_of_one_diverges",
            "a hole is an invalid call",
            Defect::Answer(|_, commit, answer| answer.map_err(|_| error(ErrorKind::Invalid, commit))),
        ),
        (
            "a_put_that_leaves_a_hole_after_several_events_diverges",
            "the end is the first sequence of the last commit and its events",
            Defect::Put(|streams, commit| {
                let last = streams.get(&commit.key)?.last()?;
                (commit.first.number() == last.first.number() + last.len() as u64 + 1)
                    .then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_that_leaves_a_large_hole_diverges",
            "only small holes are seen",
            Defect::Put(|streams, commit| (hole(streams, commit)? > 100).then_some(Ok(Put::Stored))),
        ),
        (
            "a_linked_put_that_leaves_a_hole_diverges",
            "the sequence of a commit with the right previous one is not looked at",
            Defect::Put(|streams, commit| {
                hole(streams, commit)?;
                let last = streams.get(&commit.key)?.last()?.metadata.commit_id;
                (commit.previous == Some(last)).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_beyond_the_first_sequence_of_an_empty_stream_diverges",
            "a stream begins at any sequence",
            Defect::Put(|streams, commit| {
                let begins = !streams.contains_key(&commit.key) && commit.fits();
                begins.then(|| {
                    store(streams, commit.key.clone(), Arc::clone(commit));
                    Ok(Put::Stored)
                })
            }),
        ),
        (
            "a_put_that_leaves_a_hole_changes_nothing",
            "a put is stored, and then refused",
            Defect::Put(|streams, commit| {
                hole(streams, commit)?;
                store(streams, commit.key.clone(), Arc::clone(commit));
                Some(Err(error(ErrorKind::Diverged, commit)))
            }),
        ),
    ]
}

fn other_previous() -> Vec<Proof> {
    vec![
        (
            "a_put_after_another_commit_diverges",
            "the previous commit is not looked at",
            Defect::Put(|streams, commit| differs(streams, commit).then_some(Ok(Put::Stored))),
        ),
        (
            "a_put_after_another_commit_diverges",
            "any commit of the stream may be the previous one",
            Defect::Put(|streams, commit| {
                let mut stream = streams.get(&commit.key)?.iter();
                let known = stream.any(|c| Some(c.metadata.commit_id) == commit.previous);
                (known && differs(streams, commit)).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_after_another_commit_than_an_unlinked_one_diverges",
            "the previous commit is looked at if the last one has one",
            Defect::Put(|streams, commit| {
                let unlinked = streams.get(&commit.key)?.last()?.previous.is_none();
                (unlinked && differs(streams, commit)).then_some(Ok(Put::Stored))
            }),
        ),
        (
            "a_put_after_another_commit_diverges_through_another_handle",
            "a handle judges by what it knows",
            Defect::StalePuts,
        ),
        (
            "a_commit_without_a_previous_is_stored",
            "every commit but the first has to name its previous one",
            Defect::Put(|_, commit| {
                let unlinked = commit.first.number() > 1 && commit.previous.is_none();
                unlinked.then(|| Err(error(ErrorKind::Diverged, commit)))
            }),
        ),
        (
            "a_put_after_another_commit_changes_nothing",
            "a put is stored, and then refused",
            Defect::Put(|streams, commit| {
                differs(streams, commit).then(|| {
                    store(streams, commit.key.clone(), Arc::clone(commit));
                    Err(error(ErrorKind::Diverged, commit))
                })
            }),
        ),
    ]
}

fn errors() -> Vec<Proof> {
    vec![
        (
            "the_error_for_a_hole_names_both_ends",
            "the error for a hole names nothing",
            Defect::Answer(|_, _, answer| {
                answer.map_err(|_| StorageError::new(ErrorKind::Diverged, "a hole"))
            }),
        ),
        (
            "the_error_for_a_hole_names_both_ends",
            "the error for a hole names the sequence of the commit",
            Defect::Answer(|_, commit, answer| answer.map_err(|error| error.at(commit.first))),
        ),
        (
            "the_error_for_a_hole_names_both_ends",
            "the error for a hole has no source",
            Defect::Answer(|_, commit, answer| {
                answer.map_err(|_| error(ErrorKind::Diverged, commit).at(before(commit)))
            }),
        ),
        (
            "the_error_on_an_empty_stream_has_no_stored_end",
            "a stream without events has the end that the writer knows",
            Defect::Answer(|_, commit, answer| answer.map_err(|_| diverged(commit, Some(&commit.head())))),
        ),
        (
            "the_error_for_another_previous_names_both_commits",
            "the error does not say which commit is stored",
            Defect::Answer(|_, commit, answer| answer.map_err(|_| diverged(commit, None))),
        ),
    ]
}

/// Number of sequences that the put would leave out.
fn hole(streams: &Streams, commit: &Arc<C>) -> Option<u64> {
    let end = streams.get(&commit.key)?.last()?.last().number();
    (commit.first.number() > end + 1).then(|| commit.first.number() - end - 1)
}

/// True if the commit is at the next sequence, and its previous commit is another than the last one.
fn differs(streams: &Streams, commit: &Arc<C>) -> bool {
    let Some(stream) = streams.get(&commit.key) else { return false };
    let judged: Answer = judge(stream, commit);
    hole(streams, commit).is_none() && judged.is_err_and(|error| error.kind() == ErrorKind::Diverged)
}

/// The sequence that the writer of the commit knows.
fn before(commit: &C) -> S {
    S::from_parts(commit.first.number() - 1, commit.first.zone()).expect("not the first sequence")
}

fn diverged(commit: &C, stored: Option<&eventsrc_core::Head<S>>) -> StorageError {
    Diverged::error(&commit.key, (before(commit), commit.previous), stored)
}
