//! Racing writers.

use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::stream::Zone;
use eventsrc_core::{EventStorage, Sequence};

use super::backend::Backend;
use super::trial::{CommitOf, Handle, SequenceOf, Trial, run_concurrently, sequence};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// Of two racing puts at one sequence, exactly one is stored.
pub(super) async fn of_two_racing_puts_one_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for round in 0..20 {
        let key = format!("round {round}");
        race::<B>(&storage, (0..2).map(|_| on.commit(&*key, 1, 1)).collect()).await?;
    }
    Ok(())
}

/// Of 64 racing puts at one sequence, exactly one is stored.
pub(super) async fn of_64_racing_puts_one_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    race::<B>(&storage, (0..64).map(|_| on.commit("a", 1, 1)).collect()).await
}

/// Of racing puts through different handles, exactly one is stored.
pub(super) async fn of_racing_puts_through_two_handles_one_is_stored<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let (one, other) = (on.open().await, on.open().await);
    for round in 0..20 {
        let key = format!("round {round}");
        let commits = [on.commit(&*key, 1, 1), on.commit(&*key, 1, 2)];
        let puts = commits.clone().into_iter().zip([one.clone(), other.clone()]);
        let puts = puts.map(|(commit, storage)| async move { storage.storage().put(commit).await });
        let results = run_concurrently(puts).await?;
        let mut stored = Vec::new();
        for (commit, result) in commits.into_iter().zip(results) {
            if let Put::Stored = result? {
                stored.push(commit);
            }
        }
        ensure_eq!(stored.len(), 1, "puts stored in {key}");
        one.holds(&*key, &stored).await?;
    }
    Ok(())
}

/// Of racing puts of different lengths, exactly one is stored, and no event of the others.
pub(super) async fn of_racing_puts_of_different_lengths_one_is_stored<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    race::<B>(&storage, (0..16).map(|at| on.commit("a", 1, 1 + at * 3)).collect()).await
}

/// Of racing puts after a stored commit, exactly one is stored.
pub(super) async fn of_racing_puts_after_a_commit_one_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2]);
    storage.stores_all(&stored).await?;
    // Half of them name their previous commit.
    let commits = (0..16).flat_map(|_| [on.commit("a", 3, 2), on.after(&stored[0], 2)]).collect();
    let winner = winner::<B>(&storage, commits).await?;
    storage.holds("a", &[stored[0].clone(), winner]).await
}

/// Of puts that race at one number from different zones, exactly one is stored. Within one storage, numbers are
/// unique.
pub(super) async fn of_racing_puts_from_different_zones_one_is_stored<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let zoned = |zone| {
        let mut commit = on.draft("a", 1, 2);
        commit.first = SequenceOf::<B>::from_parts(1, Zone(zone)).unwrap_or(commit.first);
        Arc::new(commit)
    };
    race::<B>(&storage, (0..8).map(zoned).collect()).await
}

/// Racing writers that retry after each conflict store every commit once, without a hole.
pub(super) async fn writers_that_retry_conflicts_store_every_commit_once<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    const WRITERS: usize = 8;
    const COMMITS: usize = 6;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let storage = on.open().await;
        let drafts: Vec<_> = (0..COMMITS).map(|at| on.draft("a", 1, 1 + (writer + at) % 3)).collect();
        writers.push(async move {
            let mut ids = Vec::new();
            for mut draft in drafts {
                loop {
                    let head = storage.latest("a").await?;
                    let number = head.map_or(1, |head| head.sequence.number() + 1);
                    draft.first = sequence(number);
                    draft.previous = head.and_then(|head| head.commit_id);
                    if let Put::Stored = storage.storage().put(Arc::new(draft.clone())).await? {
                        break;
                    }
                }
                ids.push(draft.metadata.commit_id);
            }
            Ok::<_, Violation>(ids)
        });
    }
    let mut acknowledged = Vec::new();
    for ids in run_concurrently(writers).await? {
        acknowledged.extend(ids?);
    }
    let mut found: Vec<_> = commit_ids::<B>(&on.open().await, "a").await?;
    ensure_eq!(found.len(), WRITERS * COMMITS, "commits in the stream");
    found.sort_unstable();
    acknowledged.sort_unstable();
    ensure!(found == acknowledged, "the commits of the stream are not the acknowledged ones");
    Ok(())
}

/// Concurrent writers on different streams get no conflict.
pub(super) async fn writers_on_different_streams_do_not_conflict<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let chains: Vec<_> = (0..32).map(|writer| on.chain(&*format!("{writer}"), [1, 2, 1, 3])).collect();
    let writers = chains.clone().into_iter().map(|chain| {
        let storage = storage.clone();
        async move { storage.stores_all(&chain).await }
    });
    run_concurrently(writers).await?.into_iter().collect::<RuleResult>()?;
    for chain in chains {
        storage.holds(&chain[0].key, &chain).await?;
    }
    Ok(())
}

/// Two handles that write in turn see each other's commits like their own.
pub(super) async fn two_handles_may_write_in_turn<B: Backend>(on: &Trial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    let stored = on.chain("a", (0..20).map(|at| 1 + at % 2));
    for (turn, commit) in stored.iter().enumerate() {
        handles[turn % 2].stores(commit).await?;
        handles[1 - turn % 2].conflicts(&on.commit("a", commit.first.number(), 1)).await?;
    }
    handles[0].holds("a", &stored).await?;
    handles[1].holds("a", &stored).await
}

/// Puts all commits at once on one key. Expects exactly one to be stored, and the stream to hold only that one.
async fn race<B: Backend>(storage: &Handle<B>, commits: Vec<CommitOf<B>>) -> RuleResult {
    let key = commits[0].key.clone();
    let winner = winner::<B>(storage, commits).await?;
    storage.holds(key, &[winner]).await
}

/// Puts all commits at once. Expects exactly one to be stored, and returns it.
async fn winner<B: Backend>(
    storage: &Handle<B>,
    commits: Vec<CommitOf<B>>,
) -> Result<CommitOf<B>, Violation> {
    let puts = commits.clone().into_iter().map(|commit| {
        let storage = storage.clone();
        async move { storage.storage().put(commit).await }
    });
    let mut stored = Vec::new();
    for (commit, result) in commits.into_iter().zip(run_concurrently(puts).await?) {
        if let Put::Stored = result? {
            stored.push(commit);
        }
    }
    ensure_eq!(stored.len(), 1, "puts stored at one sequence");
    Ok(stored.remove(0))
}

/// Returns the ids of the commits of a stream. Expects numbers without a hole.
async fn commit_ids<B: Backend>(
    storage: &Handle<B>,
    key: &str,
) -> Result<Vec<eventsrc_core::CommitId>, Violation> {
    let events = storage.events(key, None).await?;
    for (number, (commit, index)) in (1u64..).zip(&events) {
        ensure_eq!(commit.first.number() + *index as u64, number, "the number of an event");
    }
    Ok(events.iter().filter(|(_, index)| *index == 0).map(|(commit, _)| commit.metadata.commit_id).collect())
}
