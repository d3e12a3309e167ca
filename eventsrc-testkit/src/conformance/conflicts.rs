//! Puts at taken sequences.

use std::sync::Arc;

use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;

use super::backend::Backend;
use super::trial::{Trial, ensure_same_commit, run_concurrently};
use super::violation::{RuleResult, Violation, ensure_eq};

/// A put at a taken sequence is a conflict.
pub(super) async fn a_put_at_a_taken_sequence_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores(&on.commit("a", 1, 1)).await?;
    storage.conflicts(&on.commit("a", 1, 1)).await.map(drop)
}

/// A put at a taken sequence changes neither the events nor the head.
pub(super) async fn a_put_at_a_taken_sequence_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 1]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 2, 1)).await?;
    storage.holds("a", &stored).await
}

/// A put at the first sequence of any earlier commit is a conflict, and changes nothing.
pub(super) async fn a_put_at_an_earlier_commit_is_a_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 3, 2, 1, 1]);
    storage.stores_all(&stored).await?;
    for number in [1, 2, 5, 7, 8] {
        storage.conflicts(&on.commit("a", number, 1)).await?;
    }
    storage.holds("a", &stored).await
}

/// A commit with more events than the stored one at its sequence stores none of them.
pub(super) async fn a_longer_commit_at_a_taken_sequence_stores_no_part<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 1, 30)).await?;
    storage.holds("a", &stored).await
}

/// A commit with fewer events than the stored one at its sequence is a conflict as well.
pub(super) async fn a_shorter_commit_at_a_taken_sequence_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [5]);
    storage.stores_all(&stored).await?;
    storage.conflicts(&on.commit("a", 1, 1)).await?;
    storage.holds("a", &stored).await
}

/// A put of the same payloads under another commit id is a conflict, because it is another writer's commit.
pub(super) async fn the_same_payloads_under_another_id_are_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 2);
    storage.stores(&stored).await?;
    let mut twin = on.draft("a", 1, 2);
    (twin.time, twin.payloads) = (stored.time, stored.payloads.clone());
    storage.conflicts(&twin.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A put under a commit id that is stored at another sequence is a conflict. The id alone does not identify a
/// repetition.
pub(super) async fn a_commit_id_stored_at_another_sequence_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 1]);
    storage.stores_all(&stored).await?;
    let mut other = on.draft("a", 2, 1);
    other.metadata.commit_id = stored[0].metadata.commit_id;
    storage.conflicts(&other.into()).await?;
    storage.holds("a", &stored).await
}

/// A conflict does not prevent a put at the next sequence.
pub(super) async fn a_put_after_a_conflict_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let (first, second) = (on.commit("a", 1, 1), on.commit("a", 2, 2));
    storage.stores(&first).await?;
    storage.conflicts(&on.commit("a", 1, 2)).await?;
    storage.stores(&second).await?;
    storage.holds("a", &[first, second]).await
}

/// A commit that got a conflict may be put again, under its id, at the next free sequence.
pub(super) async fn a_conflicting_commit_is_stored_at_the_next_sequence<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let (winner, loser) = (on.commit("a", 1, 1), on.commit("a", 1, 2));
    storage.stores(&winner).await?;
    storage.conflicts(&loser).await?;
    let mut retried = on.draft("a", 2, 2);
    retried.metadata = loser.metadata.clone();
    let retried = Arc::new(retried);
    storage.stores(&retried).await?;
    storage.holds("a", &[winner, retried]).await
}

/// A put at a taken sequence is a conflict whatever it names as its previous commit, because the conflict tells more.
pub(super) async fn a_put_at_a_taken_sequence_with_another_previous_is_a_conflict<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1, 3]);
    storage.stores_all(&stored).await?;
    for (number, events) in [(2, 1), (3, 1), (4, 1), (4, 5), (6, 1)] {
        let mut other = on.draft("a", number, events);
        other.previous = Some(on.commit("elsewhere", 1, 1).metadata.commit_id);
        storage.conflicts(&other.into()).await?;
    }
    storage.holds("a", &stored).await
}

/// A hundred conflicts in a row change nothing.
pub(super) async fn a_hundred_conflicts_change_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1]);
    storage.stores_all(&stored).await?;
    for _ in 0..50 {
        storage.conflicts(&on.commit("a", 1, 1)).await?;
        storage.conflicts(&on.commit("a", 3, 2)).await?;
    }
    storage.holds("a", &stored).await
}

/// A read after a conflict sees the commit that caused it.
pub(super) async fn a_conflicting_commit_is_readable<B: Backend>(on: &Trial<B>) -> RuleResult {
    let (one, other) = (on.open().await, on.open().await);
    let stored = on.chain("a", [2]);
    one.stores_all(&stored).await?;
    other.conflicts(&on.commit("a", 1, 1)).await?;
    other.holds("a", &stored).await
}

/// A conflict carries the stored commit that caused it.
pub(super) async fn a_conflict_carries_the_commit_in_the_way<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    let conflict = storage.conflicts(&on.commit("a", 1, 1)).await?;
    let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
    ensure_same_commit::<B>(&existing, &stored)
}

/// The commit in a conflict is complete, with all its events and metadata.
pub(super) async fn a_conflict_carries_the_commit_whole<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.draft("a", 1, 30);
    stored.metadata.actor = Some("an actor".into());
    let stored = Arc::new(stored);
    storage.stores(&stored).await?;
    let conflict = storage.conflicts(&on.commit("a", 1, 1)).await?;
    let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
    ensure_same_commit::<B>(&existing, &stored)
}

/// A conflict with an earlier commit carries that commit and not the latest one.
pub(super) async fn a_conflict_carries_the_commit_at_its_sequence<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2, 1, 1]);
    storage.stores_all(&stored).await?;
    for (number, commit) in [1, 2, 4, 5].into_iter().zip(&stored) {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        let existing = conflict.existing.ok_or_else(|| Violation::new("the conflict carries no commit"))?;
        ensure_same_commit::<B>(&existing, commit)?;
    }
    Ok(())
}

/// The conflict of each losing put in a race carries the commit that won.
pub(super) async fn losers_of_a_race_get_the_winning_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits: Vec<_> = (0..8).map(|_| on.commit("a", 1, 2)).collect();
    let puts = commits.into_iter().map(|commit| {
        let storage = storage.clone();
        async move { storage.storage().put(commit).await }
    });
    let results = run_concurrently(puts).await?;
    let winner = storage.events("a", None).await?;
    let Some((winner, _)) = winner.first() else { return Err(Violation::new("no put was stored")) };
    for result in results {
        if let Put::Conflict(conflict) = result? {
            let existing = conflict
                .existing
                .ok_or_else(|| Violation::new("the conflict of a losing put carries no commit"))?;
            ensure_same_commit::<B>(&existing, winner)?;
        }
    }
    Ok(())
}

/// A conflict carries the head of the stream.
pub(super) async fn a_conflict_carries_the_head<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    let conflict = storage.conflicts(&on.commit("a", 1, 1)).await?;
    ensure_eq!(conflict.head, Some(stored.head()), "the head in the conflict");
    Ok(())
}

/// A conflict with an earlier commit carries the head of the whole stream, with its time.
pub(super) async fn a_conflict_carries_the_head_of_the_latest_commit<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2, 4]);
    storage.stores_all(&stored).await?;
    for number in [1, 2, 4] {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        ensure_eq!(conflict.head, Some(stored[2].head()), "the head in the conflict at {number}");
    }
    Ok(())
}

/// Whatever a conflict carries is correct. A backend that lacks the commit or the head omits it.
pub(super) async fn the_data_of_a_conflict_is_correct<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 3, 1]);
    storage.stores_all(&stored).await?;
    for (number, commit) in [1, 3, 6].into_iter().zip(&stored) {
        let conflict = storage.conflicts(&on.commit("a", number, 1)).await?;
        if let Some(existing) = conflict.existing {
            ensure_same_commit::<B>(&existing, commit)?;
        }
        if let Some(head) = conflict.head {
            ensure_eq!(head, stored[2].head(), "the head in the conflict at {number}");
        }
    }
    Ok(())
}
