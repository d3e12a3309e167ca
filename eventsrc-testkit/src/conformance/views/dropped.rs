//! Callers that stop waiting.

use eventsrc_core::view::{Applied, Batch, ViewStore};

use super::super::dropped::poll_and_drop;
use super::super::report::{RuleResult, Violation, ensure_eq};
use super::super::trial::together;
use super::applying::slices;
use super::backend::ViewBackend;
use super::trial::{RunOf, ViewHandle, ViewTrial, all, named, rows_of, run, same_rows, stream_of};

/// A call that is dropped at any point applies its batch whole or not at all, and applying it again settles it.
pub async fn a_dropped_batch_is_applied_whole_or_not_at_all<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let mut held = Vec::new();
    for polls in 0..12 {
        let chains = ["a", "b", "c"].map(|key| on.chain(&*format!("{key} {polls}"), [7, 2]));
        let streams: Vec<_> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
        let batch = Batch::new(chains.iter().map(|chain| all::<B>(chain)).collect());
        poll_and_drop(view.store().apply(&batch), polls).await;
        let (places, mut rows) = view.read(&streams).await?;
        rows.retain(|name, _| streams.iter().any(|stream| stream.as_str() == name));
        let applied = places[0].position.is_some();
        let position = chains[0].last().filter(|_| applied).map(|commit| commit.last());
        for place in &places {
            ensure_eq!(place.position, position, "a place after a call that was dropped after {polls} polls");
        }
        same_rows(&rows, &rows_of::<B>(&if applied { slices::<B>(&chains) } else { Vec::new() }))?;
        settles(&view, || chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
        held.extend(chains);
    }
    view.holds(&slices::<B>(&held)).await
}

/// A call that is dropped at any point holds nobody up, on its streams and on others.
pub async fn a_dropped_batch_holds_nobody_up<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let mut held = Vec::new();
    for polls in 0..12 {
        let chain = on.chain(&*format!("a {polls}"), [3, 1]);
        let beside = on.chain(&*format!("b {polls}"), [1]);
        let batch = Batch::new(vec![run::<B>(&chain, 0..1)]);
        poll_and_drop(view.store().apply(&batch), polls).await;
        view.applies(vec![all::<B>(&beside)]).await?;
        settles(&view, || vec![run::<B>(&chain, 0..1)]).await?;
        view.applies(vec![run::<B>(&chain, 1..2)]).await?;
        held.extend([chain, beside]);
    }
    view.holds(&slices::<B>(&held)).await
}

/// Calls that are dropped while others go on leave every stream whole.
pub async fn batches_dropped_among_others_leave_every_stream_whole<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..24).map(|worker| on.chain(&*format!("{worker}"), [5, 1, 4])).collect();
    let workers = chains.iter().cloned().enumerate().map(|(worker, chain)| {
        let view = view.clone();
        async move {
            for index in 0..chain.len() {
                let batch = Batch::new(vec![run::<B>(&chain, index..index + 1)]);
                poll_and_drop(view.store().apply(&batch), worker % 6).await;
                settles(&view, || vec![run::<B>(&chain, index..index + 1)]).await?;
            }
            Ok(())
        }
    });
    together(workers.collect::<Vec<_>>()).await?.into_iter().collect::<RuleResult>()?;
    view.holds(&slices::<B>(&chains)).await
}

/// Questions that are dropped at any point hold nobody up.
pub async fn a_dropped_question_holds_nobody_up<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1; 24]);
    for index in 0..chain.len() {
        let stream = [named("a")];
        match index % 3 {
            0 => poll_and_drop(view.store().positions_of(&stream), index / 3).await,
            1 => poll_and_drop(view.store().positions(None, 10), index / 3).await,
            _ => poll_and_drop(view.store().quarantined(), index / 3).await,
        }
        view.applies(vec![run::<B>(&chain, index..index + 1)]).await?;
    }
    view.holds(&[&chain]).await
}

/// A decision to skip that is dropped at any point is carried out whole or not at all, and holds nobody up.
pub async fn a_dropped_skip_is_whole_or_not_at_all<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let mut decided = Vec::new();
    for polls in 0..8 {
        let chain = on.chain(&*format!("a {polls}"), [2, 1]);
        let (poison, skip) = (on.poison(&chain, 0), on.skip(&chain, 0));
        view.store().quarantine(&poison).await?;
        poll_and_drop(view.store().skip(&skip), polls).await;
        // True, or false because the dropped call has done it.
        view.store().skip(&skip).await?;
        decided.push(skip);
        view.quarantines(&[]).await?;
        view.has_skipped(&decided.iter().collect::<Vec<_>>()).await?;
        view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    }
    Ok(())
}

/// Applies the batch, unless it was applied before.
async fn settles<B: ViewBackend>(view: &ViewHandle<B>, runs: impl Fn() -> Vec<RunOf<B>>) -> RuleResult {
    match view.apply(runs()).await? {
        Applied::Done => {}
        Applied::PositionDiffers => {
            let runs = runs();
            let streams: Vec<_> = runs.iter().map(|run| run.stream.clone()).collect();
            for (run, place) in runs.iter().zip(view.store().positions_of(&streams).await?) {
                let to = run.commits.last().map(|commit| commit.last());
                ensure_eq!(place.position, to, "the position of {} once its batch was settled", run.stream);
            }
        }
        other => return Err(Violation::new(format!("a sound batch was answered with {other:?}"))),
    }
    Ok(())
}
