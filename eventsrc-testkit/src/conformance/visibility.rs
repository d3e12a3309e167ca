//! Visibility of acknowledged commits.

use super::backend::Backend;
use super::trial::{Trial, run_concurrently};
use super::violation::{RuleResult, ensure_eq};

/// A commit can be read as soon as its put is answered.
pub(super) async fn a_stored_commit_is_read_at_once<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1, 3, 1]);
    for stored in 1..=commits.len() {
        storage.stores(&commits[stored - 1]).await?;
        storage.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// A read from the sequence of a commit returns the commit as soon as its put is answered.
pub(super) async fn a_stored_commit_is_read_at_once_from_its_sequence<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1, 3, 1]);
    for (at, commit) in commits.iter().enumerate() {
        storage.stores(commit).await?;
        storage.holds_from("a", commit.first, &commits[..=at]).await?;
    }
    Ok(())
}

/// A stored commit is visible to another task.
pub(super) async fn a_stored_commit_is_read_from_another_task<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        storage.stores(&commits[stored - 1]).await?;
        let (storage, commits) = (storage.clone(), commits[..stored].to_vec());
        run_concurrently([async move { storage.holds("a", &commits).await }])
            .await?
            .into_iter()
            .collect::<RuleResult>()?;
    }
    Ok(())
}

/// A stored commit is visible through a handle that was opened before the put.
pub(super) async fn a_stored_commit_is_read_through_an_earlier_handle<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let (writer, reader) = (on.open().await, on.open().await);
    reader.holds("a", &[]).await?;
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        writer.stores(&commits[stored - 1]).await?;
        reader.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// A stored commit is visible through a handle that is opened after the writer's handle was dropped.
pub(super) async fn a_stored_commit_outlives_the_handle<B: Backend>(on: &Trial<B>) -> RuleResult {
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        on.open().await.stores(&commits[stored - 1]).await?;
        on.open().await.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// `latest` is up to date through every handle.
pub(super) async fn latest_is_up_to_date_through_every_handle<B: Backend>(on: &Trial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await, on.open().await];
    for (turn, commit) in on.chain("a", [1, 3, 2, 1, 1, 2]).into_iter().enumerate() {
        handles[turn % 3].stores(&commit).await?;
        for handle in &handles {
            ensure_eq!(handle.latest("a").await?, Some(commit.head()), "latest after a put");
            ensure_eq!(handle.recent("a", 1).await?, [commit.head()], "recent after a put");
        }
    }
    Ok(())
}

/// Each of many concurrent writers can read its own commit as soon as its put is answered.
pub(super) async fn concurrent_writers_read_their_own_commits<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let writers = (0..24).map(|writer| {
        let (storage, commits) = (storage.clone(), on.chain(&*format!("{writer}"), [1, 2, 1, 3]));
        async move {
            for stored in 1..=commits.len() {
                storage.stores(&commits[stored - 1]).await?;
                storage.holds(&commits[0].key, &commits[..stored]).await?;
            }
            Ok(())
        }
    });
    run_concurrently(writers.collect::<Vec<_>>()).await?.into_iter().collect()
}
