//! Puts of commits that no stream can hold: inside a commit, past the last sequence, or under malformed names.

use super::backend::Backend;
use super::sample::SampleKey;
use super::trial::{Trial, ensure_same_commit};
use super::violation::{RuleResult, Violation};

const LAST: u64 = i64::MAX as u64;

/// A put at any sequence inside a stored commit is a conflict, and changes nothing.
pub(super) async fn a_put_inside_a_commit_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 5, 2]);
    storage.stores_all(&stored).await?;
    for number in [2, 4, 5, 6, 7, 9] {
        storage.conflicts(&on.commit("a", number, 1)).await?;
    }
    storage.holds("a", &stored).await
}

/// A put that starts inside the latest commit and runs past its end is a conflict, and changes nothing.
pub(super) async fn a_put_that_begins_inside_the_latest_commit_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 2, 5)).await?;
    storage.conflicts(&on.commit("a", 3, 5)).await?;
    storage.holds("a", &stored).await
}

/// A put inside a stored commit under that commit's id is a conflict, because the commit is not stored at that
/// sequence.
pub(super) async fn a_put_inside_a_commit_under_its_id_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    let mut inside = on.draft("a", 2, 2);
    inside.metadata = stored.metadata.clone();
    storage.conflicts(&inside.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A conflict inside a commit carries that commit.
pub(super) async fn a_conflict_inside_a_commit_carries_that_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 4, 1]);
    storage.stores_all(&stored).await?;
    for number in [4, 6] {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
        ensure_same_commit::<B>(&existing, &stored[1])?;
    }
    Ok(())
}

/// A commit that runs past the last sequence is refused, on an empty stream and on one with events.
pub(super) async fn a_commit_past_the_last_sequence_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [1])).await?;
    for key in ["a", "b"] {
        storage.refuses(&on.commit(key, LAST, 2)).await?;
        storage.refuses(&on.commit(key, LAST - 3, 9)).await?;
    }
    Ok(())
}

/// A refused commit past the last sequence changes nothing.
pub(super) async fn a_commit_past_the_last_sequence_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit("a", LAST, 2)).await?;
    storage.holds("a", &[]).await?;
    let stored = on.chain("b", [2]);
    storage.stores_all(&stored).await?;
    storage.refuses(&on.commit("b", LAST, 2)).await?;
    storage.holds("b", &stored).await
}

/// A commit at the first sequence that names a previous one is refused, because there is none.
pub(super) async fn a_first_commit_with_a_previous_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("b", [1])).await?;
    let mut first = on.draft("a", 1, 2);
    first.previous = Some(on.commit("b", 1, 1).metadata.commit_id);
    storage.refuses(&first.into()).await?;
    storage.holds("a", &[]).await?;
    storage.round_trips(&on.chain("a", [1])).await
}

/// A name without a category is refused.
pub(super) async fn a_name_without_a_category_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("", "1"), 1, 1)).await.map(drop)
}

/// A name without an id is refused.
pub(super) async fn a_name_without_an_id_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("user", ""), 1, 1)).await.map(drop)
}

/// A category with a slash is refused, because the name could be that of another stream.
pub(super) async fn a_category_with_a_slash_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.refuses(&on.commit(("a/b", "c"), 1, 1)).await.map(drop)
}

/// A name with U+0000 is refused, because some stores cannot hold it.
pub(super) async fn a_name_with_a_zero_character_is_refused<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.refuses(&on.commit(("user", "a\0b"), 1, 1)).await?;
    storage.refuses(&on.commit(("us\0er", "a"), 1, 1)).await.map(drop)
}

/// A put under a malformed name does not change the streams with a similar name.
pub(super) async fn a_put_under_a_malformed_name_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for (malformed, similar) in [(("a/b", "c"), ("a", "b/c")), (("user", "a\0b"), ("user", "a"))] {
        let similar = SampleKey::from(similar);
        let stored = on.chain(&similar, [1]);
        storage.stores_all(&stored).await?;
        storage.refuses(&on.commit(malformed, 2, 1)).await?;
        storage.holds(&similar, &stored).await?;
    }
    Ok(())
}
