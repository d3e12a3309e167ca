//! Puts of a commit that is stored already: the reply to an earlier one was lost, or the command was sent twice.

use std::sync::Arc;

use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;

use super::backend::Backend;
use super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::sample::Sample;
use super::trial::{Trial, together};

/// A put of the only commit of a stream again is repeated.
pub async fn a_put_of_the_only_commit_again_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    storage.repeats(&stored).await
}

/// A put of the latest commit again is repeated.
pub async fn a_put_of_the_latest_commit_again_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[1]).await
}

/// A put of any earlier commit again, which others have followed, is repeated, with the last sequence of that commit.
pub async fn a_put_of_an_earlier_commit_again_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2, 1, 3]);
    storage.stores_all(&stored).await?;
    for commit in &stored {
        storage.repeats(commit).await?;
    }
    Ok(())
}

/// A put again changes nothing: no second copy is stored.
pub async fn a_put_again_stores_no_second_copy<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2]);
    storage.stores_all(&stored).await?;
    for commit in stored.iter().chain(&stored) {
        storage.repeats(commit).await?;
        storage.holds("a", &stored).await?;
    }
    Ok(())
}

/// A put of a commit of many events again is repeated, and stores none of them twice.
pub async fn a_put_of_many_events_again_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [30]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[0]).await?;
    storage.holds("a", &stored).await
}

/// A put of a stored commit again through another handle is repeated: the writer may have been restarted.
pub async fn a_put_again_through_another_handle_is_repeated<B: Backend>(on: &Trial<B>) -> RuleResult {
    let stored = on.chain("a", [2, 1]);
    on.open().await.stores_all(&stored).await?;
    let other = on.open().await;
    other.repeats(&stored[1]).await?;
    other.repeats(&stored[0]).await?;
    other.holds("a", &stored).await
}

/// The same commit put by many at once is stored by one, repeated by the others, and there once.
pub async fn the_same_commit_put_by_many_at_once_is_stored_once<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commit = on.commit("a", 1, 3);
    let puts = (0..16).map(|_| {
        let (storage, commit) = (storage.clone(), Arc::clone(&commit));
        async move { storage.storage().put(commit).await }
    });
    let mut stored = 0;
    for put in together(puts).await? {
        match put? {
            Put::Stored => stored += 1,
            Put::Repeated { last } => ensure_eq!(last, commit.last(), "the last sequence"),
            Put::Conflict(_) => return Err(Violation::new("a commit met itself as a conflict")),
        }
    }
    ensure_eq!(stored, 1, "puts that stored the commit");
    storage.holds("a", &[commit]).await
}

/// A commit is known by its id: put again with another time and other payloads it is repeated, and stays as it was.
pub async fn a_put_again_is_known_by_its_commit_id<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    let mut again = on.draft("a", 1, 1);
    again.metadata.commit_id = stored.metadata.commit_id;
    again.payloads[0] = Sample::Nothing;
    storage.repeats(&again.into()).await?;
    storage.holds("a", &[stored]).await
}

/// A put again tells the last sequence that is stored, also where it was decided anew and came out longer.
pub async fn a_put_again_tells_the_last_sequence_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 3);
    storage.stores(&stored).await?;
    for length in [1, 3, 7] {
        let mut again = on.draft("a", 1, length);
        again.metadata.commit_id = stored.metadata.commit_id;
        match storage.storage().put(again.into()).await? {
            Put::Repeated { last } => ensure_eq!(last, stored.last(), "the last sequence"),
            other => ensure!(false, "a put again of {length} events came to {other:?}"),
        }
    }
    storage.holds("a", &[stored]).await
}

/// After a put again, the stream goes on where it ended.
pub async fn a_put_again_does_not_move_the_head<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = on.chain("a", [2, 2]);
    storage.stores_all(&stored).await?;
    storage.repeats(&stored[0]).await?;
    stored.push(on.commit("a", 5, 1));
    storage.stores(&stored[2]).await?;
    storage.holds("a", &stored).await
}
