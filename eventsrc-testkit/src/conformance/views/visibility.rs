//! Visibility of applied batches.

use eventsrc_core::Sequence;

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure_eq};
use super::backend::ViewBackend;
use super::trial::{ViewTrial, all, ensure_same_rows, named, rows_of, run};

/// An applied batch is visible at once: rows, requested positions, all positions, and all of them in one snapshot.
pub(super) async fn an_applied_batch_is_visible_at_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1; 20]);
    for applied in 1..=chain.len() {
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (stream_positions, rows) = view.read(&[named("a")]).await?;
        ensure_eq!(
            stream_positions[0].position,
            Some(chain[applied - 1].last()),
            "the position that a reader sees"
        );
        ensure_same_rows(&rows, &rows_of::<B>(&[&chain[..applied]]))?;
        view.holds(&[&chain[..applied]]).await?;
    }
    Ok(())
}

/// An applied batch is visible to another task.
pub(super) async fn an_applied_batch_is_visible_to_another_task<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2]);
    for applied in 1..=chain.len() {
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (view, chain) = (view.clone(), chain.clone());
        let read = async move { view.holds(&[&chain[..applied]]).await };
        run_concurrently([read]).await?.into_iter().collect::<RuleResult>()?;
    }
    Ok(())
}

/// An applied batch is visible through a handle that was opened, and had read, before.
pub(super) async fn an_applied_batch_is_visible_through_an_earlier_handle<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (reader, view) = (on.open().await, on.open().await);
    let chain = on.chain("a", [1, 2, 1]);
    for applied in 1..=chain.len() {
        reader.holds(&[&chain[..applied - 1]]).await?;
        reader.read(&[named("a")]).await?;
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (stream_positions, rows) = reader.read(&[named("a")]).await?;
        ensure_eq!(
            stream_positions[0].position,
            Some(chain[applied - 1].last()),
            "the position that a reader sees"
        );
        ensure_same_rows(&rows, &rows_of::<B>(&[&chain[..applied]]))?;
        reader.holds(&[&chain[..applied]]).await?;
    }
    Ok(())
}

/// Rows, positions, quarantines and skips outlive the handle.
pub(super) async fn an_applied_batch_outlives_the_handle<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1]), on.chain("c", [1, 1])];
    view.applies(vec![all::<B>(&chains[0])]).await?;
    let (entry, skip) = (on.quarantined_commit(&chains[1], 0), on.skip(&chains[2], 0));
    eventsrc_core::view::ViewStore::quarantine(view.store(), &entry).await?;
    view.skips(&skip).await?;
    drop(view);
    let view = on.open().await;
    ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chains[0]]))?;
    view.has_positions([(named("a"), chains[0][1].last()), (named("c"), chains[2][0].last())]).await?;
    view.has_quarantined(&[&entry]).await?;
    view.has_skipped(&[&skip]).await
}

/// Two handles that apply in turn see each other's positions like their own.
pub(super) async fn two_handles_may_apply_in_turn<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    let chain = on.chain("a", (0..20).map(|at| 1 + at % 2));
    for turn in 0..chain.len() {
        handles[turn % 2].applies(vec![run::<B>(&chain, turn..turn + 1)]).await?;
        handles[1 - turn % 2].refuses_position(vec![run::<B>(&chain, turn..turn + 1)]).await?;
    }
    handles[0].holds(&[&chain]).await?;
    handles[1].holds(&[&chain]).await
}

/// Concurrent workers read the batches that they applied.
pub(super) async fn concurrent_workers_read_their_own_batches<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let mut workers = Vec::new();
    for worker in 0..8 {
        let (view, chain) = (on.open().await, on.chain(&*format!("{worker}"), [1; 10]));
        workers.push(async move {
            let stream = named(&chain[0].key);
            for applied in 1..=chain.len() {
                view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
                tokio::task::yield_now().await;
                let (stream_positions, rows) = view.read(std::slice::from_ref(&stream)).await?;
                let number = stream_positions[0].position.map(Sequence::number);
                ensure_eq!(number, Some(applied as u64), "the position of {stream}");
                let expected = rows_of::<B>(&[&chain[..applied]]);
                ensure_eq!(rows.get(stream.as_str()), expected.get(stream.as_str()), "the row of {stream}");
            }
            Ok::<_, Violation>(())
        });
    }
    run_concurrently(workers).await?.into_iter().collect()
}
