//! Workers that race.

use std::sync::Arc;

use eventsrc_core::view::{Applied, Batch, CommitRun, ViewStore};
use eventsrc_core::{ErrorKind, StorageError};

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::together;
use super::applying::slices;
use super::backend::ViewBackend;
use super::trial::{RunOf, ViewCommitOf, ViewHandle, ViewTrial, all, run, stream_of};

/// Of two racing batches from one position, exactly one is applied.
pub async fn of_two_racing_batches_one_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    for round in 0..20 {
        let key = format!("round {round}");
        let chains = (0..2).map(|_| on.chain(&*key, [1])).collect();
        race::<B>(std::slice::from_ref(&view), chains).await?;
    }
    Ok(())
}

/// Of 32 racing batches from one position, exactly one is applied.
pub async fn of_32_racing_batches_one_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = (0..32).map(|at| on.chain("a", [1 + at % 3, 1])).collect();
    race::<B>(&[view], chains).await
}

/// Of racing batches through several handles, exactly one is applied.
pub async fn of_racing_batches_through_four_handles_one_is_applied<B: ViewBackend>(
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

/// The very same batch applied by many at once is applied once.
pub async fn the_same_batch_applied_by_many_is_applied_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..10 {
        let chain = on.chain(&*format!("round {round}"), [2, 1]);
        race::<B>(&handles, vec![chain; 8]).await?;
    }
    Ok(())
}

/// Of racing batches that go on from a position, exactly one is applied.
pub async fn of_racing_batches_after_a_commit_one_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    let first = on.chain("a", [2]);
    handles[0].applies(vec![all::<B>(&first)]).await?;
    let next: Vec<_> = (0..16).map(|_| on.commit("a", 3, [super::ViewSample::Write])).collect();
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

/// Of racing batches that have one stream in common, exactly one is applied, and the others move none of their streams.
pub async fn of_racing_batches_that_share_a_stream_one_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..10 {
        let shared = on.chain(&*format!("m shared {round}"), [1]);
        // Some of the others come before the shared stream by name, and some after it.
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

/// Workers that apply batches of their own choice, and go by positions when one was not applied, apply every commit of every
/// stream once and in order.
pub async fn workers_that_race_apply_every_commit_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let chains: Arc<Vec<_>> = Arc::new(
        (0..12).map(|stream| on.chain(&*format!("{stream:02}"), (0..15).map(|at| 1 + at % 2))).collect(),
    );
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (view, chains) = (on.open().await, Arc::clone(&chains));
        workers.push(async move { work(&view, &chains, worker).await });
    }
    together(workers).await?.into_iter().collect::<RuleResult>()?;
    on.open().await.holds(&slices::<B>(&chains)).await
}

/// Applies batches of some streams until all is applied, whoever did it.
pub(super) async fn work<B: ViewBackend>(
    view: &ViewHandle<B>,
    chains: &[Vec<ViewCommitOf<B>>],
    worker: usize,
) -> RuleResult {
    let streams: Vec<_> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
    for round in 0.. {
        ensure!(round < 10_000, "the worker does not come to an end");
        let places = match view.store().positions_of(&streams).await {
            Ok(places) => places,
            Err(error) => {
                may_be_tried_again(&error)?;
                continue;
            }
        };
        let next = |(chain, place): (&Vec<ViewCommitOf<B>>, &eventsrc_core::view::StreamPosition<_>)| {
            place.position.map_or(0, |at| chain.iter().take_while(|commit| commit.last() <= at).count())
        };
        let next: Vec<_> = chains.iter().zip(&places).map(next).collect();
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
            Ok(other) => return Err(Violation::new(format!("a sound batch was answered with {other:?}"))),
            Err(error) => may_be_tried_again(&error)?,
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) fn may_be_tried_again(error: &StorageError) -> RuleResult {
    ensure_eq!(error.kind(), ErrorKind::Unavailable, "the kind of {error:?}");
    Ok(())
}

/// Applies all at once from the beginning of one stream, by turns through the handles; expects one to be applied.
async fn race<B: ViewBackend>(handles: &[ViewHandle<B>], chains: Vec<Vec<ViewCommitOf<B>>>) -> RuleResult {
    let winners = winners(handles, chains.iter().map(|chain| vec![all::<B>(chain)]).collect()).await?;
    ensure_eq!(winners.len(), 1, "batches applied from one position");
    let winner = &chains[winners[0]];
    let stream = stream_of::<B>(winner);
    let (places, rows) = handles[0].read(std::slice::from_ref(&stream)).await?;
    let expected = super::trial::rows_of::<B>(&[winner]);
    ensure_eq!(rows.get(stream.as_str()), expected.get(stream.as_str()), "the row of {stream}");
    ensure_eq!(places[0].position, winner.last().map(|commit| commit.last()), "the position of {stream}");
    Ok(())
}

/// Applies all batches at once, by turns through the handles, and gives the places of those that were applied.
async fn winners<B: ViewBackend>(
    handles: &[ViewHandle<B>],
    batches: Vec<Vec<RunOf<B>>>,
) -> Result<Vec<usize>, Violation> {
    let applies = batches.into_iter().zip(handles.iter().cycle().cloned()).map(|(runs, view)| async move {
        let batch = Batch::new(runs);
        view.store().apply(&batch).await
    });
    let mut winners = Vec::new();
    for (at, answer) in together(applies.collect::<Vec<_>>()).await?.into_iter().enumerate() {
        match answer? {
            Applied::Done => winners.push(at),
            Applied::PositionDiffers => {}
            other => return Err(Violation::new(format!("a sound batch was answered with {other:?}"))),
        }
    }
    Ok(winners)
}
