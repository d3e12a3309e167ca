//! Puts at free sequences.

use super::backend::Backend;
use super::sample::Sample;
use super::trial::Trial;
use super::violation::RuleResult;

/// A put on an empty stream stores its commit.
pub(super) async fn a_put_on_an_empty_stream_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [1])).await
}

/// A put right after the latest commit stores its commit.
pub(super) async fn a_put_after_the_latest_commit_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [1, 1, 1])).await
}

/// A put right after a commit of several events stores its commit.
pub(super) async fn a_put_after_a_commit_of_several_events_is_stored<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [3, 2, 1, 4])).await
}

/// A commit of two events is stored.
pub(super) async fn a_commit_of_two_events_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [2])).await
}

/// A commit of 26 events is stored. Some stores limit a transaction to 25 items.
pub(super) async fn a_commit_of_26_events_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [26, 1])).await
}

/// A commit of 101 events is stored. Some stores limit a transaction to 100 items.
pub(super) async fn a_commit_of_101_events_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [101, 1])).await
}

/// A commit of 1,000 events is stored.
pub(super) async fn a_commit_of_1000_events_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", [1_000, 1])).await
}

/// A stream of 300 commits is stored.
pub(super) async fn a_stream_of_300_commits_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    on.open().await.round_trips(&on.chain("a", (0..300).map(|at| 1 + at % 3))).await
}

/// A payload of a megabyte, or of the largest size that the backend accepts, is stored.
pub(super) async fn a_payload_of_a_megabyte_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let mut large = on.draft("a", 1, 1);
    large.payloads[0] = Sample::of_length(on.capabilities().largest_commit.min(1 << 20));
    on.open().await.round_trips(&[large.into(), on.commit("a", 2, 1)]).await
}

/// A stream of more than a megabyte in total is stored.
pub(super) async fn a_stream_of_more_than_a_megabyte_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let mut commits = Vec::new();
    for at in 0..30 {
        let mut commit = on.draft("a", 1 + 2 * at, 2);
        commit.payloads[1] = Sample::of_length(on.capabilities().largest_commit.min(60_000));
        commits.push(commit.into());
    }
    on.open().await.round_trips(&commits).await
}

/// A put directly after a put through another handle is stored, if it names that commit as its previous one.
pub(super) async fn a_put_directly_after_one_of_another_handle_is_stored<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await, on.open().await];
    let stored = on.chain("a", (0..12).map(|at| 1 + at % 3));
    for (commit, handle) in stored.iter().zip([0, 1, 0, 1, 1, 0, 0, 2, 1, 2, 2, 0]) {
        handles[handle].stores(commit).await?;
    }
    handles[0].holds("a", &stored).await?;
    handles[1].holds("a", &stored).await
}
