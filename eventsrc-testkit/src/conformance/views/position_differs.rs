//! Batches whose streams have another position than the batch expects.

use eventsrc_core::Sequence;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Batch, CommitRun, ViewStore};

use super::super::violation::{RuleResult, ensure_eq};
use super::backend::{ViewBackend, ViewSequenceOf};
use super::sample::ViewSample::{self, Break, Fail, Panic};
use super::trial::{ViewTrial, all, named, run, slices};

/// A batch that is applied again is `PositionDiffers`, and changes nothing.
pub(super) async fn a_batch_applied_again_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2]);
    view.applies(vec![all::<B>(&chain)]).await?;
    for _ in 0..3 {
        view.refuses_position(vec![all::<B>(&chain)]).await?;
        view.holds(&[&chain]).await?;
    }
    Ok(())
}

/// A batch from an earlier position is `PositionDiffers`, through every handle.
pub(super) async fn a_batch_of_an_earlier_position_is_refused<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3]);
    view.applies_each(&chain).await?;
    for handle in [view, on.open().await] {
        for commits in [0..1, 0..2, 1..2, 2..4, 3..4, 0..4] {
            handle.refuses_position(vec![run::<B>(&chain, commits)]).await?;
        }
        handle.holds(&[&chain]).await?;
    }
    Ok(())
}

/// A batch ahead of the stream's position is `PositionDiffers`. No commit is left out.
pub(super) async fn a_batch_ahead_of_its_stream_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for commits in [2..3, 3..4, 2..4] {
        view.refuses_position(vec![run::<B>(&chain, commits)]).await?;
    }
    view.holds(&[&chain[..1]]).await
}

/// A batch that continues a stream which was never applied is `PositionDiffers`.
pub(super) async fn a_batch_that_continues_a_new_stream_is_refused<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (chain, other) = (on.chain("a", [1, 1]), on.chain("b", [1, 1]));
    view.refuses_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[]).await?;
    view.applies(vec![all::<B>(&other)]).await?;
    view.refuses_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[&other]).await
}

/// Other commits from the beginning of a stream that has a position are `PositionDiffers`.
pub(super) async fn a_batch_that_restarts_a_stream_is_refused<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (chain, restarted) = (on.chain("a", [1, 1]), on.chain("a", [1, 3, 1]));
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    view.refuses_position(vec![all::<B>(&restarted)]).await?;
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.refuses_position(vec![all::<B>(&restarted)]).await?;
    view.holds(&[&chain]).await
}

/// A batch from a sequence inside the last commit is `PositionDiffers`.
pub(super) async fn a_batch_from_inside_a_commit_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 4]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let within = chain[1].events().map(|event| event.sequence()).take(3);
    for from in within {
        let commits = vec![on.commit("a", from.number() + 1, [ViewSample::Write])];
        let run = CommitRun { stream: named("a"), from: Some(from), commits };
        view.refuses_position(vec![run]).await?;
    }
    view.holds(&[&chain]).await
}

/// A position of the same number in another zone is another position.
pub(super) async fn a_position_in_another_zone_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for zone in [0, 7, 600] {
        let Some(from) = ViewSequenceOf::<B>::from_parts(1, Zone(zone)) else { continue };
        if Some(from) == view.position("a").await? {
            continue;
        }
        let commits = chain[1..].to_vec();
        view.refuses_position(vec![CommitRun { stream: named("a"), from: Some(from), commits }]).await?;
    }
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await
}

/// One stream with a differing position refuses the whole batch, at whatever index the stream is.
pub(super) async fn one_differing_position_refuses_the_whole_batch<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| on.chain(key, [1, 2, 1])).to_vec();
    let runs = |commits: [std::ops::Range<usize>; 5]| {
        chains.iter().zip(commits).map(|(chain, commits)| run::<B>(chain, commits)).collect::<Vec<_>>()
    };
    view.applies(runs([0..1, 0..1, 0..1, 0..1, 0..1])).await?;
    for refuses_before_code_runs in 0..5 {
        for commits in [0..1, 2..3] {
            let mut batch = [1..2, 1..2, 1..2, 1..2, 1..2];
            batch[refuses_before_code_runs] = commits;
            view.refuses_position(runs(batch)).await?;
            view.holds(&chains.iter().map(|chain| &chain[..1]).collect::<Vec<_>>()).await?;
        }
    }
    view.applies(runs([1..3, 1..3, 1..3, 1..3, 1..3])).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A differing position of a known stream refuses a new stream in the same batch, and the reverse.
pub(super) async fn a_differing_position_refuses_new_and_known_streams<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 1, 1]), on.chain("b", [1, 1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    view.refuses_position(vec![run::<B>(&old, 1..2), run::<B>(&new, 1..2)]).await?;
    view.refuses_position(vec![run::<B>(&old, 2..3), run::<B>(&new, 0..1)]).await?;
    view.refuses_position(vec![run::<B>(&old, 0..1), run::<B>(&new, 0..1)]).await?;
    view.holds(&[&old[..1]]).await
}

/// A refused batch is applied once its streams have the right positions.
pub(super) async fn a_refused_batch_may_be_applied_later<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = ["a", "b"].map(|key| on.chain(key, [1, 2, 1])).to_vec();
    for index in 0..2 {
        let ahead = |chain: &Vec<_>| run::<B>(chain, index + 1..index + 2);
        view.refuses_position(chains.iter().map(ahead).collect()).await?;
        view.applies(chains.iter().map(|chain| run::<B>(chain, index..index + 1)).collect()).await?;
    }
    view.applies(chains.iter().map(|chain| run::<B>(chain, 2..3)).collect()).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A batch from another position is `PositionDiffers`, even if the view's code would refuse it.
pub(super) async fn a_differing_position_is_reported_before_code_errors<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    refuses_before_code_runs(on, [Fail("refused".into()), Panic("refused".into())]).await
}

/// A batch from another position is `PositionDiffers`, even if its rows would violate a constraint.
pub(super) async fn a_differing_position_is_reported_before_broken_constraints<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    refuses_before_code_runs(on, [Break]).await
}

/// Expects batches of these payloads to be refused before the view's code runs: `PositionDiffers` behind a stream's
/// position and ahead of it, `Quarantined` right after the position of a stream in quarantine.
async fn refuses_before_code_runs<B: ViewBackend>(
    on: &ViewTrial<B>,
    payloads: impl IntoIterator<Item = ViewSample>,
) -> RuleResult {
    let view = on.open().await;
    let (chain, stopped) = (on.chain("a", [1]), on.chain("b", [1, 1]));
    view.applies(vec![all::<B>(&chain), run::<B>(&stopped, 0..1)]).await?;
    view.store().quarantine(&on.quarantined_commit(&stopped, 1)).await?;
    for payload in payloads {
        let refused = |key| on.chain_of(key, vec![vec![payload.clone()]; 3]);
        view.refuses_position(vec![run::<B>(&refused("a"), 0..1)]).await?;
        view.refuses_position(vec![run::<B>(&refused("a"), 2..3)]).await?;
        view.refuses_quarantined(vec![run::<B>(&refused("b"), 1..2)]).await?;
    }
    view.holds(&[&chain, &stopped[..1]]).await
}

/// A batch of 1,000 streams of which one has a differing position is `PositionDiffers`, and changes nothing.
pub(super) async fn one_differing_position_of_1000_refuses_the_batch<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..1_000).map(|stream| on.chain(&*format!("{stream}"), [1])).collect();
    view.applies(vec![all::<B>(&chains[617])]).await?;
    let batch = Batch::new(chains.iter().map(|chain| all::<B>(chain)).collect());
    ensure_eq!(batch.position_changes().len(), 1_000, "streams in the batch");
    view.refuses_position(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    view.holds(&[&chains[617]]).await
}
