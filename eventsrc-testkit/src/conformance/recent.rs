//! Heads after the last commits of a stream.

use super::backend::Backend;
use super::trial::Trial;
use super::violation::{RuleResult, ensure_eq};

/// The head after the last commit is first, and that after the first commit is last.
pub(super) async fn recent_is_newest_first<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 1, 1]);
    storage.stores_all(&stored).await?;
    let expected = [stored[2].head(), stored[1].head(), stored[0].head()];
    ensure_eq!(storage.recent("a", 3).await?, expected, "recent");
    Ok(())
}

/// Each head has the last sequence, the time and the id of its own commit.
pub(super) async fn recent_has_the_end_of_each_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [3, 1, 5, 2]);
    let mut earlier = on.draft("a", 12, 4);
    earlier.time = stored[0].time - std::time::Duration::from_secs(3_600);
    stored.push(earlier.into());
    storage.stores_all(&stored).await?;
    let expected: Vec<_> = stored.iter().rev().map(|commit| commit.head()).collect();
    ensure_eq!(storage.recent("a", 5).await?, expected, "recent");
    Ok(())
}

/// There are at most as many heads as asked for, counted in commits and not in events.
pub(super) async fn recent_returns_at_most_as_many_as_asked_for<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1, 3, 1, 2]);
    storage.stores_all(&stored).await?;
    let newest_first: Vec<_> = stored.iter().rev().map(|commit| commit.head()).collect();
    for count in 1..=5 {
        ensure_eq!(storage.recent("a", count).await?, newest_first[..count], "recent, {count} heads");
    }
    Ok(())
}

/// A stream of fewer commits has fewer heads, however many are asked for.
pub(super) async fn recent_returns_fewer_if_the_stream_has_fewer<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1]);
    storage.stores_all(&stored).await?;
    storage.stores_all(&on.chain("b", [1, 1, 1])).await?;
    let expected = [stored[1].head(), stored[0].head()];
    for count in [3, 1_000, u32::MAX as usize, usize::MAX] {
        ensure_eq!(storage.recent("a", count).await?, expected, "recent, up to {count} heads");
    }
    Ok(())
}

/// No head is returned if none is asked for.
pub(super) async fn recent_of_no_commits_is_empty<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    ensure_eq!(storage.recent("a", 0).await?, [], "recent of a stream without events, no head");
    storage.stores_all(&on.chain("a", [2, 1])).await?;
    ensure_eq!(storage.recent("a", 0).await?, [], "recent, no head");
    Ok(())
}

/// A stream without events has no heads, and this is not an error.
pub(super) async fn recent_is_empty_without_events<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    ensure_eq!(storage.recent("a", 5).await?, [], "recent of an empty storage");
    storage.stores_all(&on.chain("b", [1, 2])).await?;
    ensure_eq!(storage.recent("a", 5).await?, [], "recent of a stream next to others");
    Ok(())
}

/// The first of the heads is what `latest` returns, through every handle.
pub(super) async fn recent_agrees_with_latest<B: Backend>(on: &Trial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for (turn, commit) in on.chain("a", [1, 3, 2, 1, 1, 2]).into_iter().enumerate() {
        handles[turn % 2].stores(&commit).await?;
        for handle in &handles {
            let (recent, latest) = (handle.recent("a", 1 + turn).await?, handle.latest("a").await?);
            ensure_eq!(recent.first().copied(), latest, "the first of the recent heads, and `latest`");
        }
    }
    Ok(())
}

/// The heads of 300 commits are all returned, in order.
pub(super) async fn recent_of_300_commits_is_complete<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", (0..300).map(|at| 1 + at % 3));
    storage.stores_all(&stored).await?;
    let newest_first: Vec<_> = stored.iter().rev().map(|commit| commit.head()).collect();
    for count in [128, 299, 300, 1_000] {
        let expected = &newest_first[..count.min(300)];
        ensure_eq!(storage.recent("a", count).await?, expected, "recent, up to {count} heads");
    }
    Ok(())
}
