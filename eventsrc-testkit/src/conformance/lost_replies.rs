//! Puts of a commit that is stored already: the reply to an earlier one was lost.

use std::sync::Arc;

use super::backend::Backend;
use super::report::Kept;
use super::sample::Sample;
use super::trial::{Trial, together};

/// A put of the latest commit again is stored, and stores no second copy.
pub async fn a_put_of_the_latest_commit_again_is_stored<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 1]);
    storage.stores_all(&stored).await?;
    storage.stores(&stored[1]).await?;
    storage.holds("a", &stored).await
}

/// A put of the only commit of a stream again is stored.
pub async fn a_put_of_the_only_commit_again_is_stored<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let stored = on.chain("a", [1]);
    storage.stores_all(&stored).await?;
    storage.stores(&stored[0]).await?;
    storage.holds("a", &stored).await
}

/// A put of an earlier commit again, which others have followed, is stored.
pub async fn a_put_of_an_earlier_commit_again_is_stored<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2, 1, 3]);
    storage.stores_all(&stored).await?;
    storage.stores_all(&stored).await?;
    storage.holds("a", &stored).await
}

/// A put of a commit of many events again is stored, and stores none of them twice.
pub async fn a_put_of_many_events_again_is_stored<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let stored = on.chain("a", [30]);
    storage.stores_all(&stored).await?;
    storage.stores(&stored[0]).await?;
    storage.holds("a", &stored).await
}

/// A put of a stored commit again through another handle is stored: the writer may have been restarted.
pub async fn a_put_again_through_another_handle_is_stored<B: Backend>(on: &Trial<B>) -> Kept {
    let stored = on.chain("a", [2, 1]);
    on.open().await.stores_all(&stored).await?;
    let other = on.open().await;
    other.stores_all(&stored).await?;
    other.holds("a", &stored).await
}

/// A put of a stored commit again at the same time by many is stored for each, and once in all.
pub async fn the_same_commit_put_by_many_at_once_is_stored_once<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let commit = on.commit("a", 1, 3);
    let puts = (0..16).map(|_| {
        let (storage, commit) = (storage.clone(), Arc::clone(&commit));
        async move { storage.stores(&commit).await }
    });
    together(puts).await?.into_iter().collect::<Kept>()?;
    storage.holds("a", &[commit]).await
}

/// A commit is known by its id: put again with another time and other payloads it is stored, as it was the first time.
pub async fn a_put_again_is_known_by_its_commit_id<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let stored = on.commit("a", 1, 1);
    storage.stores(&stored).await?;
    let mut again = on.draft("a", 1, 1);
    again.metadata.commit_id = stored.metadata.commit_id;
    again.payloads[0] = Sample::Nothing;
    storage.stores(&again.into()).await?;
    storage.holds("a", &[stored]).await
}

/// After a put again, the stream goes on where it ended.
pub async fn a_put_again_does_not_move_the_head<B: Backend>(on: &Trial<B>) -> Kept {
    let storage = on.open().await;
    let mut stored = on.chain("a", [2, 2]);
    storage.stores_all(&stored).await?;
    storage.stores(&stored[0]).await?;
    let next = on.commit("a", 5, 1);
    storage.stores(&next).await?;
    stored.push(next);
    storage.holds("a", &stored).await
}
