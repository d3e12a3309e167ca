//! Puts of a commit that is already stored, because the reply was lost or the command was sent twice.

use std::sync::Arc;

use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;

use super::backend::Backend;
use super::sample::Sample;
use super::trial::{Trial, run_concurrently};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A second put of the only commit of a stream is `Repeated`.
pub(super) async fn a_second_put_of_the_only_commit_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    storage.repeats(&stored).await
}

/// A second put of the latest commit is `Repeated`.
pub(super) async fn a_second_put_of_the_latest_commit_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[1]).await
}

/// A second put of an earlier commit is `Repeated`, with the last sequence of that commit.
pub(super) async fn a_second_put_of_an_earlier_commit_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2, 1, 3]);
    storage.stores_all(&stored).await?;
    for commit in &stored {
        storage.repeats(commit).await?;
    }
    Ok(())
}

/// A second put changes nothing and stores no second copy.
pub(super) async fn a_second_put_stores_no_second_copy<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2]);
    storage.stores_all(&stored).await?;
    for commit in stored.iter().chain(&stored) {
        storage.repeats(commit).await?;
        storage.holds("a", &stored).await?;
    }
    Ok(())
}

/// A second put of a commit of many events is `Repeated`, and none of them is stored twice.
pub(super) async fn a_second_put_of_many_events_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [30]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[0]).await?;
    storage.holds("a", &stored).await
}

/// A second put through another handle is `Repeated`. The writer may have been restarted.
pub(super) async fn a_second_put_through_another_handle_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let stored = on.chain("a", [2, 1]);
    on.open().await.stores_all(&stored).await?;
    let other = on.open().await;
    other.repeats(&stored[1]).await?;
    other.repeats(&stored[0]).await?;
    other.holds("a", &stored).await
}

/// Of concurrent puts of one commit, one is `Stored` and the others are `Repeated`. The commit is stored once.
pub(super) async fn concurrent_puts_of_one_commit_store_it_once<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commit = on.commit("a", 1, 3);
    let puts = (0..16).map(|_| {
        let (storage, commit) = (storage.clone(), Arc::clone(&commit));
        async move { storage.storage().put(commit).await }
    });
    let mut stored = 0;
    for put in run_concurrently(puts).await? {
        match put? {
            Put::Stored => stored += 1,
            Put::Repeated { last } => ensure_eq!(last, commit.last(), "the last sequence"),
            Put::Conflict(_) => {
                return Err(Violation::new("a put of a stored commit is a conflict with itself"));
            }
        }
    }
    ensure_eq!(stored, 1, "puts that stored the commit");
    storage.holds("a", &[commit]).await
}

/// A commit is recognised by its id. A second put with another time and other payloads is `Repeated`, and the stored
/// commit does not change.
pub(super) async fn a_second_put_is_recognised_by_its_commit_id<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    let mut again = on.draft("a", 1, 1);
    again.metadata.commit_id = stored.metadata.commit_id;
    again.payloads[0] = Sample::Nothing;
    storage.repeats(&again.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A second put returns the last stored sequence, even if the operation decided again and the commit has another
/// length.
pub(super) async fn a_second_put_returns_the_last_stored_sequence<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    for length in [1, 3, 7] {
        let mut again = on.draft("a", 1, length);
        again.metadata.commit_id = stored.metadata.commit_id;
        match storage.storage().put(again.into()).await? {
            Put::Repeated { last } => ensure_eq!(last, stored.last(), "the last sequence"),
            other => ensure!(false, "the answer to a second put, of {length} events, is {other:?}"),
        }
    }
    storage.holds("a", &[stored]).await
}

/// A second put is `Repeated` whatever it names as its previous commit, because its writer may know less or more by now.
pub(super) async fn a_second_put_with_another_previous_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1, 1]);
    storage.stores_all(&stored).await?;
    for previous in [None, Some(stored[2].metadata.commit_id)] {
        let mut again = Arc::unwrap_or_clone(Arc::clone(&stored[1]));
        again.previous = previous;
        storage.repeats(&again.into()).await?;
    }
    storage.holds("a", &stored).await
}

/// A second put does not change the head: the next put is stored after the last commit.
pub(super) async fn a_second_put_does_not_change_the_head<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [2, 2]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[0]).await?;
    stored.push(on.commit("a", 5, 1));
    storage.stores(&stored[2]).await?;
    storage.holds("a", &stored).await
}
