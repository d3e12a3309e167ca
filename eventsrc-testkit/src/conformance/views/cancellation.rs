//! Cancelled calls: futures that are dropped before they end.

use eventsrc_core::view::{Applied, Batch, ViewStore};

use super::super::cancellation::poll_and_drop;
use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure_eq};
use super::backend::ViewBackend;
use super::trial::{
    RunOf, ViewHandle, ViewTrial, all, ensure_same_rows, named, rows_of, run, slices, stream_of,
};

/// A call that is dropped at any point applies its batch completely or not at all. Applying the batch again settles
/// it.
pub(super) async fn a_dropped_batch_is_applied_whole_or_not_at_all<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let mut held = Vec::new();
    for polls in 0..12 {
        let chains = ["a", "b", "c"].map(|key| on.chain(&*format!("{key} {polls}"), [7, 2]));
        let streams: Vec<_> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
        let batch = Batch::new(chains.iter().map(|chain| all::<B>(chain)).collect());
        poll_and_drop(view.store().apply(&batch), polls).await;
        let (stream_positions, mut rows) = view.read(&streams).await?;
        rows.retain(|name, _| streams.iter().any(|stream| stream.as_str() == name));
        let applied = stream_positions[0].position.is_some();
        let position = chains[0].last().filter(|_| applied).map(|commit| commit.last());
        for stream_position in &stream_positions {
            ensure_eq!(
                stream_position.position,
                position,
                "the position after a call that was dropped after {polls} polls"
            );
        }
        ensure_same_rows(&rows, &rows_of::<B>(&if applied { slices::<B>(&chains) } else { Vec::new() }))?;
        applies_or_finds_applied(&view, || chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
        held.extend(chains);
    }
    view.holds(&slices::<B>(&held)).await
}

/// A call that is dropped at any point blocks no other call, on its streams or on others.
pub(super) async fn a_dropped_batch_blocks_no_other_call<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let mut held = Vec::new();
    for polls in 0..12 {
        let chain = on.chain(&*format!("a {polls}"), [3, 1]);
        let other = on.chain(&*format!("b {polls}"), [1]);
        let batch = Batch::new(vec![run::<B>(&chain, 0..1)]);
        poll_and_drop(view.store().apply(&batch), polls).await;
        view.applies(vec![all::<B>(&other)]).await?;
        applies_or_finds_applied(&view, || vec![run::<B>(&chain, 0..1)]).await?;
        view.applies(vec![run::<B>(&chain, 1..2)]).await?;
        held.extend([chain, other]);
    }
    view.holds(&slices::<B>(&held)).await
}

/// Calls that are dropped while others continue leave every stream complete.
pub(super) async fn concurrent_dropped_batches_leave_every_stream_complete<B: ViewBackend>(
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
                applies_or_finds_applied(&view, || vec![run::<B>(&chain, index..index + 1)]).await?;
            }
            Ok(())
        }
    });
    run_concurrently(workers.collect::<Vec<_>>()).await?.into_iter().collect::<RuleResult>()?;
    view.holds(&slices::<B>(&chains)).await
}

/// Reads that are dropped at any point block no other call.
pub(super) async fn a_dropped_read_blocks_no_other_call<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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

/// A skip that is dropped at any point is recorded completely or not at all, and blocks no other call.
pub(super) async fn a_dropped_skip_is_recorded_completely_or_not_at_all<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let mut decided = Vec::new();
    for polls in 0..8 {
        let chain = on.chain(&*format!("a {polls}"), [2, 1]);
        let (entry, skip) = (on.quarantined_commit(&chain, 0), on.skip(&chain, 0));
        view.store().quarantine(&entry).await?;
        poll_and_drop(view.store().skip(&skip), polls).await;
        // True, or false if the dropped call has recorded it.
        view.store().skip(&skip).await?;
        decided.push(skip);
        view.has_quarantined(&[]).await?;
        view.has_skipped(&decided.iter().collect::<Vec<_>>()).await?;
        view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    }
    Ok(())
}

/// Applies the batch, or expects that it is applied already.
async fn applies_or_finds_applied<B: ViewBackend>(
    view: &ViewHandle<B>,
    runs: impl Fn() -> Vec<RunOf<B>>,
) -> RuleResult {
    match view.apply(runs()).await? {
        Applied::Done => {}
        Applied::PositionDiffers => {
            let runs = runs();
            let streams: Vec<_> = runs.iter().map(|run| run.stream.clone()).collect();
            for (run, stream_position) in runs.iter().zip(view.store().positions_of(&streams).await?) {
                let to = run.commits.last().map(|commit| commit.last());
                ensure_eq!(
                    stream_position.position,
                    to,
                    "the position of {} after its batch was applied",
                    run.stream
                );
            }
        }
        other => return Err(Violation::new(format!("the answer to a valid batch is {other:?}"))),
    }
    Ok(())
}
