//! Puts at places where no commit can be: inside another, after a hole, past the end, under no name.

use super::backend::Backend;
use super::report::{RuleResult, Violation, ensure_eq};
use super::sample::SampleKey;
use super::trial::{Trial, same_commit};

const LAST: u64 = i64::MAX as u64;

/// A put at any place inside a stored commit is a conflict, and changes nothing.
pub async fn a_put_inside_a_commit_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 5, 2]);
    storage.stores_all(&stored).await?;
    for number in [2, 4, 5, 6, 7, 9] {
        storage.conflicts(&on.commit("a", number, 1)).await?;
    }
    storage.holds("a", &stored).await
}

/// A put inside the latest commit that runs past its end is a conflict, and changes nothing.
pub async fn a_put_that_begins_inside_the_latest_commit_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 2, 5)).await?;
    storage.conflicts(&on.commit("a", 3, 5)).await?;
    storage.holds("a", &stored).await
}

/// A put inside a stored commit under that commit's own id is a conflict: it is not stored there.
pub async fn a_put_inside_a_commit_under_its_id_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    let mut inside = on.draft("a", 2, 2);
    inside.metadata = stored.metadata.clone();
    storage.conflicts(&inside.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A conflict inside a commit carries that commit.
pub async fn a_conflict_inside_a_commit_carries_that_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 4, 1]);
    storage.stores_all(&stored).await?;
    for number in [4, 6] {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
        same_commit::<B>(&existing, &stored[1])?;
    }
    Ok(())
}

/// A put one past the next sequence is refused.
pub async fn a_put_that_leaves_a_hole_of_one_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [1])).await?;
    storage.refuses(&on.commit("a", 3, 1)).await.map(drop)
}

/// A put one past the next sequence after a commit of several events is refused.
pub async fn a_put_that_leaves_a_hole_after_several_events_is_refused<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [1, 4])).await?;
    storage.refuses(&on.commit("a", 7, 1)).await.map(drop)
}

/// A put far past the next sequence is refused.
pub async fn a_put_that_leaves_a_large_hole_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [2])).await?;
    storage.refuses(&on.commit("a", 1_000_000, 1)).await?;
    storage.refuses(&on.commit("a", LAST, 1)).await.map(drop)
}

/// A put that was refused for its hole changes nothing, and the next one at the right place is stored.
pub async fn a_put_that_is_refused_for_a_hole_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [2]);
    storage.stores_all(&stored).await?;
    storage.refuses(&on.commit("a", 4, 2)).await?;
    storage.holds("a", &stored).await?;
    stored.push(on.commit("a", 3, 1));
    storage.stores(&stored[1]).await?;
    storage.holds("a", &stored).await
}

/// The error for a hole names the stream and the sequence.
pub async fn the_error_for_a_hole_names_the_stream_and_the_sequence<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [2])).await?;
    let commit = on.commit("a", 4, 2);
    let error = storage.refuses(&commit).await?;
    ensure_eq!(error.stream(), Some("sample/a"), "the stream that the error names");
    let sequence = commit.first.to_string();
    ensure_eq!(error.sequence(), Some(sequence.as_str()), "the sequence that the error names");
    Ok(())
}

/// A commit that runs past the last sequence is refused, on an empty stream and on one with events.
pub async fn a_commit_past_the_last_sequence_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit("a", LAST, 2)).await?;
    storage.refuses(&on.commit("a", LAST - 3, 9)).await?;
    storage.stores(&on.commit("b", LAST - 1, 1)).await?;
    storage.refuses(&on.commit("b", LAST, 2)).await.map(drop)
}

/// A commit that was refused for running past the last sequence leaves nothing behind.
pub async fn a_commit_past_the_last_sequence_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit("a", LAST, 2)).await?;
    storage.holds("a", &[]).await?;
    let stored = [on.commit("b", LAST - 2, 2)];
    storage.stores_all(&stored).await?;
    storage.refuses(&on.commit("b", LAST, 2)).await?;
    storage.holds("b", &stored).await
}

/// A name without a category is refused.
pub async fn a_name_without_a_category_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("", "1"), 1, 1)).await.map(drop)
}

/// A name without an id is refused.
pub async fn a_name_without_an_id_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("user", ""), 1, 1)).await.map(drop)
}

/// A category with a slash is refused: its name could be another stream's.
pub async fn a_category_with_a_slash_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("a/b", "c"), 1, 1)).await.map(drop)
}

/// A name with U+0000 is refused: some stores cannot hold it.
pub async fn a_name_with_a_zero_character_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit(("user", "a\0b"), 1, 1)).await?;
    storage.refuses(&on.commit(("us\0er", "a"), 1, 1)).await.map(drop)
}

/// A put under a malformed name changes nothing on the streams that its name resembles.
pub async fn a_put_under_a_malformed_name_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for (malformed, resembled) in [(("a/b", "c"), ("a", "b/c")), (("user", "a\0b"), ("user", "a"))] {
        let resembled = SampleKey::from(resembled);
        let stored = on.chain(&resembled, [1]);
        storage.stores_all(&stored).await?;
        storage.refuses(&on.commit(malformed, 2, 1)).await?;
        storage.holds(&resembled, &stored).await?;
    }
    Ok(())
}
