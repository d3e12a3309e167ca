//! What has been acknowledged is there for everybody.

use super::backend::Backend;
use super::report::{RuleResult, ensure_eq};
use super::trial::{Trial, together};

/// A commit is there to read as soon as its put has answered.
pub async fn a_stored_commit_is_read_at_once<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1, 3, 1]);
    for stored in 1..=commits.len() {
        storage.stores(&commits[stored - 1]).await?;
        storage.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// A commit is there for reads from inside the stream as soon as its put has answered.
pub async fn a_stored_commit_is_read_at_once_from_its_sequence<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1, 3, 1]);
    for (at, commit) in commits.iter().enumerate() {
        storage.stores(commit).await?;
        storage.holds_from("a", commit.first, &commits[..=at]).await?;
    }
    Ok(())
}

/// A commit is there for another task.
pub async fn a_stored_commit_is_read_from_another_task<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        storage.stores(&commits[stored - 1]).await?;
        let (storage, commits) = (storage.clone(), commits[..stored].to_vec());
        together([async move { storage.holds("a", &commits).await }])
            .await?
            .into_iter()
            .collect::<RuleResult>()?;
    }
    Ok(())
}

/// A commit is there through a handle that was opened before it was put.
pub async fn a_stored_commit_is_read_through_an_earlier_handle<B: Backend>(on: &Trial<B>) -> RuleResult {
    let (writer, reader) = (on.open().await, on.open().await);
    reader.holds("a", &[]).await?;
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        writer.stores(&commits[stored - 1]).await?;
        reader.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// A commit is there through a handle that was opened after it was put, when the writer's is gone.
pub async fn a_stored_commit_outlives_the_handle<B: Backend>(on: &Trial<B>) -> RuleResult {
    let commits = on.chain("a", [1, 2, 1]);
    for stored in 1..=commits.len() {
        on.open().await.stores(&commits[stored - 1]).await?;
        on.open().await.holds("a", &commits[..stored]).await?;
    }
    Ok(())
}

/// `latest` is up to date through every handle.
pub async fn latest_is_up_to_date_through_every_handle<B: Backend>(on: &Trial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await, on.open().await];
    for (turn, commit) in on.chain("a", [1, 3, 2, 1, 1, 2]).into_iter().enumerate() {
        handles[turn % 3].stores(&commit).await?;
        for handle in &handles {
            ensure_eq!(handle.latest("a").await?, Some(commit.head()), "latest after a put");
        }
    }
    Ok(())
}

/// Each of many writers reads its own commit at once, while the others go on.
pub async fn writers_side_by_side_read_what_they_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
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
    together(writers.collect::<Vec<_>>()).await?.into_iter().collect()
}
