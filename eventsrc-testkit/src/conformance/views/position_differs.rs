//! Batches whose streams are not where they begin.

use eventsrc_core::Sequence;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Batch, CommitRun, ViewStore};

use super::super::report::{RuleResult, ensure_eq};
use super::applying::slices;
use super::backend::{ViewBackend, ViewSequenceOf};
use super::sample::ViewSample::{self, Break, Fail, Panic};
use super::trial::{ViewTrial, all, named, run};

/// A batch that is applied again is `PositionDiffers`, and changes nothing.
pub async fn a_batch_applied_again_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2]);
    view.applies(vec![all::<B>(&chain)]).await?;
    for _ in 0..3 {
        view.finds_another_position(vec![all::<B>(&chain)]).await?;
        view.holds(&[&chain]).await?;
    }
    Ok(())
}

/// A batch that was applied before others is `PositionDiffers`, through any handle.
pub async fn a_batch_of_an_earlier_position_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3]);
    view.applies_each(&chain).await?;
    for handle in [view, on.open().await] {
        for commits in [0..1, 0..2, 1..2, 2..4, 3..4, 0..4] {
            handle.finds_another_position(vec![run::<B>(&chain, commits)]).await?;
        }
        handle.holds(&[&chain]).await?;
    }
    Ok(())
}

/// A batch that is ahead of its stream is `PositionDiffers`: nothing is left out.
pub async fn a_batch_ahead_of_its_stream_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for commits in [2..3, 3..4, 2..4] {
        view.finds_another_position(vec![run::<B>(&chain, commits)]).await?;
    }
    view.holds(&[&chain[..1]]).await
}

/// A batch that goes on in a stream which was never applied is `PositionDiffers`.
pub async fn a_batch_that_goes_on_in_a_new_stream_is_refused<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (chain, other) = (on.chain("a", [1, 1]), on.chain("b", [1, 1]));
    view.finds_another_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[]).await?;
    view.applies(vec![all::<B>(&other)]).await?;
    view.finds_another_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[&other]).await
}

/// Other commits from the beginning of a stream that has a position are `PositionDiffers`.
pub async fn a_batch_that_begins_a_stream_anew_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (chain, anew) = (on.chain("a", [1, 1]), on.chain("a", [1, 3, 1]));
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    view.finds_another_position(vec![all::<B>(&anew)]).await?;
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.finds_another_position(vec![all::<B>(&anew)]).await?;
    view.holds(&[&chain]).await
}

/// A batch that begins inside a commit, or right after a number that is not the position's, is `PositionDiffers`.
pub async fn a_batch_from_inside_a_commit_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 4]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let within = chain[1].events().map(|event| event.sequence()).take(3);
    for from in within {
        let commits = vec![on.commit("a", from.number() + 1, [super::ViewSample::Write])];
        let run = CommitRun { stream: named("a"), from: Some(from), commits };
        view.finds_another_position(vec![run]).await?;
    }
    view.holds(&[&chain]).await
}

/// A position of the same number in another zone is another position.
pub async fn a_position_of_another_zone_is_another<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for zone in [0, 7, 600] {
        let Some(from) = ViewSequenceOf::<B>::from_parts(1, Zone(zone)) else { continue };
        if Some(from) == view.position("a").await? {
            continue;
        }
        let commits = chain[1..].to_vec();
        view.finds_another_position(vec![CommitRun { stream: named("a"), from: Some(from), commits }])
            .await?;
    }
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await
}

/// One stream that stands elsewhere keeps the whole batch from being applied, at whatever place it is named.
pub async fn one_stream_elsewhere_holds_up_the_whole_batch<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| on.chain(key, [1, 2, 1])).to_vec();
    let runs = |commits: [std::ops::Range<usize>; 5]| {
        chains.iter().zip(commits).map(|(chain, commits)| run::<B>(chain, commits)).collect::<Vec<_>>()
    };
    view.applies(runs([0..1, 0..1, 0..1, 0..1, 0..1])).await?;
    for elsewhere in 0..5 {
        for commits in [0..1, 2..3] {
            let mut batch = [1..2, 1..2, 1..2, 1..2, 1..2];
            batch[elsewhere] = commits;
            view.finds_another_position(runs(batch)).await?;
            view.holds(&chains.iter().map(|chain| &chain[..1]).collect::<Vec<_>>()).await?;
        }
    }
    view.applies(runs([1..3, 1..3, 1..3, 1..3, 1..3])).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A stream that was never applied, and one that was, keep each other's batch from being applied.
pub async fn new_and_old_streams_hold_each_other_up<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 1, 1]), on.chain("b", [1, 1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    view.finds_another_position(vec![run::<B>(&old, 1..2), run::<B>(&new, 1..2)]).await?;
    view.finds_another_position(vec![run::<B>(&old, 2..3), run::<B>(&new, 0..1)]).await?;
    view.finds_another_position(vec![run::<B>(&old, 0..1), run::<B>(&new, 0..1)]).await?;
    view.holds(&[&old[..1]]).await
}

/// What was `PositionDiffers` is applied from the right position.
pub async fn a_batch_that_was_refused_may_be_applied_later<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = ["a", "b"].map(|key| on.chain(key, [1, 2, 1])).to_vec();
    for index in 0..2 {
        let ahead = |chain: &Vec<_>| run::<B>(chain, index + 1..index + 2);
        view.finds_another_position(chains.iter().map(ahead).collect()).await?;
        view.applies(chains.iter().map(|chain| run::<B>(chain, index..index + 1)).collect()).await?;
    }
    view.applies(chains.iter().map(|chain| run::<B>(chain, 2..3)).collect()).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A batch that stands elsewhere is `PositionDiffers`, also if the view's code would refuse it.
pub async fn a_batch_elsewhere_is_refused_whatever_the_code_would_say<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    elsewhere(on, [Fail("refused".into()), Panic("refused".into())]).await
}

/// A batch that stands elsewhere is `PositionDiffers`, also if its rows would break a rule of their table.
pub async fn a_batch_elsewhere_is_refused_whatever_rule_its_rows_break<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    elsewhere(on, [Break]).await
}

/// Expects batches of this payload to be `PositionDiffers` behind a stream, ahead of one, and of one in quarantine.
async fn elsewhere<B: ViewBackend>(
    on: &ViewTrial<B>,
    payloads: impl IntoIterator<Item = ViewSample>,
) -> RuleResult {
    let view = on.open().await;
    let (chain, stopped) = (on.chain("a", [1]), on.chain("b", [1, 1]));
    view.applies(vec![all::<B>(&chain), run::<B>(&stopped, 0..1)]).await?;
    view.store().quarantine(&on.poison(&stopped, 1)).await?;
    for payload in payloads {
        let refused = |key| on.chain_of(key, vec![vec![payload.clone()]; 3]);
        view.finds_another_position(vec![run::<B>(&refused("a"), 0..1)]).await?;
        view.finds_another_position(vec![run::<B>(&refused("a"), 2..3)]).await?;
        view.finds_another_position(vec![run::<B>(&refused("b"), 1..2)]).await?;
    }
    view.holds(&[&chain, &stopped[..1]]).await
}

/// A batch of 1,000 streams of which one stands elsewhere is `PositionDiffers`, and changes nothing.
pub async fn one_of_1000_streams_holds_up_the_batch<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..1_000).map(|stream| on.chain(&*format!("{stream}"), [1])).collect();
    view.applies(vec![all::<B>(&chains[617])]).await?;
    let batch = Batch::new(chains.iter().map(|chain| all::<B>(chain)).collect());
    ensure_eq!(batch.position_changes().len(), 1_000, "streams in the batch");
    view.finds_another_position(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    view.holds(&[&chains[617]]).await
}
