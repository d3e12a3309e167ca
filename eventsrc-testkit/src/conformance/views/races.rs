//! Racing workers.

use std::sync::Arc;

use eventsrc_core::view::{Applied, Batch, CommitRun, ViewStore};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample;
use super::trial::{
    RunOf, ViewCommitOf, ViewHandle, ViewTrial, all, ensure_retryable, rows_of, run, slices, stream_of,
};

/// Of two racing batches from one position, exactly one is applied.
pub(super) async fn of_two_racing_batches_one_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    for round in 0..20 {
        let key = format!("round {round}");
        let chains = (0..2).map(|_| on.chain(&*key, [1])).collect();
        race::<B>(std::slice::from_ref(&view), chains).await?;
    }
    Ok(())
}

/// Of 32 racing batches from one position, exactly one is applied.
pub(super) async fn of_32_racing_batches_one_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = (0..32).map(|at| on.chain("a", [1 + at % 3, 1])).collect();
    race::<B>(&[view], chains).await
}

/// Of racing batches through several handles, exactly one is applied.
pub(super) async fn of_racing_batches_through_four_handles_one_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await, on.open().await, on.open().await];
    for round in 0..20 {
        let key = format!("round {round}");
        let chains = (0..4).map(|at| on.chain(&*key, [1 + at])).collect();
        race::<B>(&handles, chains).await?;
    }
    Ok(())
}

/// A batch that several workers apply concurrently is applied once.
pub(super) async fn concurrent_copies_of_a_batch_are_applied_once<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..10 {
        let chain = on.chain(&*format!("round {round}"), [2, 1]);
        race::<B>(&handles, vec![chain; 8]).await?;
    }
    Ok(())
}

/// Of racing batches that continue from a position, exactly one is applied.
pub(super) async fn of_racing_batches_after_a_commit_one_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    let first = on.chain("a", [2]);
    handles[0].applies(vec![all::<B>(&first)]).await?;
    let next: Vec<_> = (0..16).map(|_| on.commit("a", 3, [ViewSample::Write])).collect();
    let runs = next.iter().map(|commit| {
        vec![CommitRun {
            stream: stream_of::<B>(&first),
            from: Some(first[0].last()),
            commits: vec![commit.clone()],
        }]
    });
    let winners = winners(&handles, runs.collect()).await?;
    ensure_eq!(winners.len(), 1, "batches applied from one position");
    handles[1].holds(&[&[first[0].clone(), next[winners[0]].clone()]]).await
}

/// Of racing batches with one common stream, exactly one is applied, and the others change none of their streams.
pub(super) async fn of_racing_batches_that_share_a_stream_one_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..10 {
        let shared = on.chain(&*format!("m shared {round}"), [1]);
        // By name, some of the other streams sort before the shared one and some after it.
        let own: Vec<_> = ["a", "d", "q", "z"].map(|key| on.chain(&*format!("{key} {round}"), [1])).to_vec();
        let batches = own.iter().map(|own| vec![all::<B>(&shared), all::<B>(own)]).collect();
        let winners = winners(&handles, batches).await?;
        ensure_eq!(winners.len(), 1, "batches applied in round {round}");
        for (at, chain) in own.iter().enumerate() {
            let expected = (at == winners[0]).then(|| chain[0].last());
            ensure_eq!(handles[0].position(&chain[0].key).await?, expected, "the position of stream {at}");
        }
    }
    Ok(())
}

/// Racing workers that apply different batches, and read positions after each refusal, apply every commit of every
/// stream once and in order.
pub(super) async fn racing_workers_apply_every_commit_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let chains: Arc<Vec<_>> = Arc::new(
        (0..12).map(|stream| on.chain(&*format!("{stream:02}"), (0..15).map(|at| 1 + at % 2))).collect(),
    );
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (view, chains) = (on.open().await, Arc::clone(&chains));
        workers.push(async move { work(&view, &chains, worker).await });
    }
    run_concurrently(workers).await?.into_iter().collect::<RuleResult>()?;
    on.open().await.holds(&slices::<B>(&chains)).await
}

/// Applies batches of some streams until all commits are applied, by any worker.
pub(super) async fn work<B: ViewBackend>(
    view: &ViewHandle<B>,
    chains: &[Vec<ViewCommitOf<B>>],
    worker: usize,
) -> RuleResult {
    let streams: Vec<_> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
    for round in 0.. {
        ensure!(round < 10_000, "the worker did not end within 10,000 rounds");
        let stream_positions = match view.store().positions_of(&streams).await {
            Ok(stream_positions) => stream_positions,
            Err(error) => {
                ensure_retryable(&error)?;
                continue;
            }
        };
        let next =
            |(chain, stream_position): (&Vec<ViewCommitOf<B>>, &eventsrc_core::view::StreamPosition<_>)| {
                stream_position
                    .position
                    .map_or(0, |at| chain.iter().take_while(|commit| commit.last() <= at).count())
            };
        let next: Vec<_> = chains.iter().zip(&stream_positions).map(next).collect();
        let mut runs = Vec::new();
        for (at, (chain, &next)) in chains.iter().zip(&next).enumerate() {
            if next < chain.len() && !(at + worker + round).is_multiple_of(3) {
                let length = 1 + (at + round) % 4;
                runs.push(run::<B>(chain, next..chain.len().min(next + length)));
            }
        }
        if runs.is_empty() && next.iter().zip(chains).all(|(next, chain)| *next == chain.len()) {
            return Ok(());
        }
        match view.apply(runs).await {
            Ok(Applied::Done | Applied::PositionDiffers) => {}
            Ok(other) => return Err(Violation::new(format!("the answer to a valid batch is {other:?}"))),
            Err(error) => ensure_retryable(&error)?,
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Applies all batches concurrently from the beginning of one stream, in turn through the handles. Expects exactly
/// one to be applied.
async fn race<B: ViewBackend>(handles: &[ViewHandle<B>], chains: Vec<Vec<ViewCommitOf<B>>>) -> RuleResult {
    let winners = winners(handles, chains.iter().map(|chain| vec![all::<B>(chain)]).collect()).await?;
    ensure_eq!(winners.len(), 1, "batches applied from one position");
    let winner = &chains[winners[0]];
    let stream = stream_of::<B>(winner);
    let (stream_positions, rows) = handles[0].read(std::slice::from_ref(&stream)).await?;
    let expected = rows_of::<B>(&[winner]);
    ensure_eq!(rows.get(stream.as_str()), expected.get(stream.as_str()), "the row of {stream}");
    ensure_eq!(
        stream_positions[0].position,
        winner.last().map(|commit| commit.last()),
        "the position of {stream}"
    );
    Ok(())
}

/// Applies all batches concurrently, in turn through the handles, and returns the indices of those that were applied.
async fn winners<B: ViewBackend>(
    handles: &[ViewHandle<B>],
    batches: Vec<Vec<RunOf<B>>>,
) -> Result<Vec<usize>, Violation> {
    let applies = batches.into_iter().zip(handles.iter().cycle().cloned()).map(|(runs, view)| async move {
        let batch = Batch::new(runs);
        view.store().apply(&batch).await
    });
    let mut winners = Vec::new();
    for (at, answer) in run_concurrently(applies.collect::<Vec<_>>()).await?.into_iter().enumerate() {
        match answer? {
            Applied::Done => winners.push(at),
            Applied::PositionDiffers => {}
            other => return Err(Violation::new(format!("the answer to a valid batch is {other:?}"))),
        }
    }
    Ok(winners)
}
