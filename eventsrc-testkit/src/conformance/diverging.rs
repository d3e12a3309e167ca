//! Puts of writers that know another history of the stream: beyond its end, or after another commit.

use std::error::Error;

use eventsrc_core::storage::Diverged;
use eventsrc_core::{CommitId, Sequence, StorageError};

use super::backend::Backend;
use super::trial::{CommitOf, SequenceOf, Trial};
use super::violation::{RuleResult, Violation, ensure_eq};

const LAST: u64 = i64::MAX as u64;

/// A put one past the next sequence diverges.
pub(super) async fn a_put_that_leaves_a_hole_of_one_diverges<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [1])).await?;
    storage.diverges(&on.commit("a", 3, 1)).await.map(drop)
}

/// A put one past the next sequence after a commit of several events diverges.
pub(super) async fn a_put_that_leaves_a_hole_after_several_events_diverges<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [1, 4])).await?;
    storage.diverges(&on.commit("a", 7, 1)).await.map(drop)
}

/// A put far past the next sequence diverges.
pub(super) async fn a_put_that_leaves_a_large_hole_diverges<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [2])).await?;
    storage.diverges(&on.commit("a", 1_000_000, 1)).await?;
    storage.diverges(&on.commit("a", LAST, 1)).await.map(drop)
}

/// A put past the next sequence diverges also if it names the last stored commit as its previous one.
pub(super) async fn a_linked_put_that_leaves_a_hole_diverges<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1]);
    storage.stores_all(&stored).await?;
    for number in [5, 100] {
        let mut beyond = on.draft("a", number, 1);
        beyond.previous = Some(stored[1].metadata.commit_id);
        storage.diverges(&beyond.into()).await?;
    }
    Ok(())
}

/// A put on a stream without events diverges, unless it is at the first sequence.
pub(super) async fn a_put_beyond_the_first_sequence_of_an_empty_stream_diverges<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [1, 1])).await?;
    for number in [2, 3, 1_000, LAST] {
        storage.diverges(&on.commit("a", number, 1)).await?;
        let mut linked = on.draft("a", number, 1);
        linked.previous = Some(on.commit("b", 1, 1).metadata.commit_id);
        storage.diverges(&linked.into()).await?;
    }
    Ok(())
}

/// A put whose previous commit is unknown, an earlier one of the stream, or the last of another stream diverges.
pub(super) async fn a_put_after_another_commit_diverges<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let (stored, other) = (on.chain("a", [2, 1]), on.chain("b", [2, 1]));
    storage.stores_all(&stored).await?;
    storage.stores_all(&other).await?;
    for known in [&on.commit("a", 3, 1), &stored[0], &other[1]] {
        storage.diverges(&next_after(on, &stored, known.metadata.commit_id)).await?;
    }
    Ok(())
}

/// A put after another previous commit diverges also if no commit of the stream names a previous one.
pub(super) async fn a_put_after_another_commit_than_an_unlinked_one_diverges<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = [on.commit("a", 1, 1), on.commit("a", 2, 2)];
    storage.stores_all(&stored).await?;
    storage.diverges(&next_after(on, &stored, stored[0].metadata.commit_id)).await?;
    storage.stores(&on.after(&stored[1], 1)).await
}

/// A put after another previous commit diverges through a handle that has not written to the stream.
pub(super) async fn a_put_after_another_commit_diverges_through_another_handle<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let (one, other) = (on.open().await, on.open().await);
    let stored = on.chain("a", [1, 2]);
    other.holds("a", &[]).await?;
    one.stores_all(&stored).await?;
    other.diverges(&next_after(on, &stored, stored[0].metadata.commit_id)).await?;
    other.stores(&on.after(&stored[1], 1)).await
}

/// A commit that names no previous one is stored after any commit, and a commit that names one is stored after it.
pub(super) async fn a_commit_without_a_previous_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [1, 2]);
    stored.push(on.commit("a", 4, 1));
    stored.push(on.commit("a", 5, 2));
    stored.push(on.after(&stored[3], 1));
    storage.round_trips(&stored).await
}

/// A put that diverges for its hole changes nothing, on an empty stream and on one with events. A put at the next
/// sequence is then stored.
pub(super) async fn a_put_that_leaves_a_hole_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.diverges(&on.commit("a", 3, 2)).await?;
    storage.holds("a", &[]).await?;
    let mut stored = on.chain("a", [2]);
    storage.stores_all(&stored).await?;
    storage.diverges(&on.commit("a", 4, 2)).await?;
    storage.holds("a", &stored).await?;
    stored.push(on.after(&stored[0], 1));
    storage.stores(&stored[1]).await?;
    storage.holds("a", &stored).await
}

/// A put that diverges for its previous commit changes nothing. The same events are stored after the right one.
pub(super) async fn a_put_after_another_commit_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [2, 1]);
    storage.stores_all(&stored).await?;
    let diverged = next_after(on, &stored, stored[0].metadata.commit_id);
    storage.diverges(&diverged).await?;
    storage.holds("a", &stored).await?;
    let mut right = (*diverged).clone();
    right.previous = Some(stored[1].metadata.commit_id);
    stored.push(right.into());
    storage.stores(&stored[2]).await?;
    storage.holds("a", &stored).await
}

/// The error for a hole names the stream and the sequence before the commit, and carries the commits at both ends.
pub(super) async fn the_error_for_a_hole_names_both_ends<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1]);
    storage.stores_all(&stored).await?;
    let mut beyond = on.draft("a", 6, 2);
    for previous in [None, Some(on.commit("a", 5, 1).metadata.commit_id)] {
        beyond.previous = previous;
        let commit = CommitOf::<B>::from(beyond.clone());
        ensure_names::<B>(&storage.diverges(&commit).await?, &commit, stored.last())?;
    }
    Ok(())
}

/// The error on a stream without events says that nothing is stored.
pub(super) async fn the_error_on_an_empty_stream_has_no_stored_end<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut beyond = on.draft("a", 4, 1);
    beyond.previous = Some(on.commit("a", 3, 1).metadata.commit_id);
    let commit = CommitOf::<B>::from(beyond);
    ensure_names::<B>(&storage.diverges(&commit).await?, &commit, None)
}

/// The error for another previous commit names the stream and the sequence before the commit, and carries both commits.
pub(super) async fn the_error_for_another_previous_names_both_commits<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3, 2]);
    storage.stores_all(&stored).await?;
    let commit = next_after(on, &stored, stored[0].metadata.commit_id);
    ensure_names::<B>(&storage.diverges(&commit).await?, &commit, stored.last())
}

/// Returns a commit at the sequence after the stored ones, whose previous commit is `known`.
fn next_after<B: Backend>(on: &Trial<B>, stored: &[CommitOf<B>], known: CommitId) -> CommitOf<B> {
    let number = stored.last().map_or(1, |last| last.last().number() + 1);
    let mut next = on.draft("a", number, 2);
    next.previous = Some(known);
    next.into()
}

/// Expects the error to name the end that the writer of `commit` knows, and the end that is stored.
fn ensure_names<B: Backend>(
    error: &StorageError,
    commit: &CommitOf<B>,
    stored: Option<&CommitOf<B>>,
) -> RuleResult {
    ensure_eq!(error.stream(), Some("sample/a"), "the stream that the error names");
    let before = SequenceOf::<B>::from_parts(commit.first.number() - 1, commit.first.zone());
    let before = before.map(|sequence| sequence.to_string());
    ensure_eq!(error.sequence(), before.as_deref(), "the sequence that the error names");
    let source = error.source().and_then(|source| source.downcast_ref::<Diverged>());
    let diverged = source.ok_or_else(|| Violation::new(format!("the source is no `Diverged`: {error:?}")))?;
    ensure_eq!(diverged.known.commit_id, commit.previous, "the commit that the writer knows");
    let found = diverged.stored.as_ref().map(|end| end.commit_id);
    let expected = stored.map(|commit| Some(commit.metadata.commit_id));
    ensure_eq!(found, expected, "the last stored commit, as the error carries it");
    Ok(())
}
