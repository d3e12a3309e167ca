//! Who sees what was applied, and when.

use eventsrc_core::Sequence;

use super::super::report::{RuleResult, Violation, ensure_eq};
use super::super::trial::together;
use super::backend::ViewBackend;
use super::trial::{ViewTrial, all, named, rows_of, run, same_rows};

/// What was applied is read at once: rows, places, positions, and all of them in one snapshot.
pub async fn what_was_applied_is_read_at_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1; 20]);
    for applied in 1..=chain.len() {
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (places, rows) = view.read(&[named("a")]).await?;
        ensure_eq!(places[0].position, Some(chain[applied - 1].last()), "the position that a reader sees");
        same_rows(&rows, &rows_of::<B>(&[&chain[..applied]]))?;
        view.holds(&[&chain[..applied]]).await?;
    }
    Ok(())
}

/// What was applied is read from another task.
pub async fn what_was_applied_is_read_from_another_task<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2]);
    for applied in 1..=chain.len() {
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (view, chain) = (view.clone(), chain.clone());
        let read = async move { view.holds(&[&chain[..applied]]).await };
        together([read]).await?.into_iter().collect::<RuleResult>()?;
    }
    Ok(())
}

/// What was applied is read through a handle that was opened, and had read, before.
pub async fn what_was_applied_is_read_through_an_earlier_handle<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (reader, view) = (on.open().await, on.open().await);
    let chain = on.chain("a", [1, 2, 1]);
    for applied in 1..=chain.len() {
        reader.holds(&[&chain[..applied - 1]]).await?;
        reader.read(&[named("a")]).await?;
        view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
        let (places, rows) = reader.read(&[named("a")]).await?;
        ensure_eq!(places[0].position, Some(chain[applied - 1].last()), "the position that a reader sees");
        same_rows(&rows, &rows_of::<B>(&[&chain[..applied]]))?;
        reader.holds(&[&chain[..applied]]).await?;
    }
    Ok(())
}

/// What was applied outlives the handle.
pub async fn what_was_applied_outlives_the_handle<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1]), on.chain("c", [1, 1])];
    view.applies(vec![all::<B>(&chains[0])]).await?;
    let (poison, skip) = (on.poison(&chains[1], 0), on.skip(&chains[2], 0));
    eventsrc_core::view::ViewStore::quarantine(view.store(), &poison).await?;
    view.skips(&skip).await?;
    drop(view);
    let view = on.open().await;
    same_rows(&view.rows().await?, &rows_of::<B>(&[&chains[0]]))?;
    view.stands_at([(named("a"), chains[0][1].last()), (named("c"), chains[2][0].last())]).await?;
    view.quarantines(&[&poison]).await?;
    view.has_skipped(&[&skip]).await
}

/// Two handles that apply by turns go by each other's positions as by their own.
pub async fn two_handles_may_apply_by_turns<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    let chain = on.chain("a", (0..20).map(|at| 1 + at % 2));
    for turn in 0..chain.len() {
        handles[turn % 2].applies(vec![run::<B>(&chain, turn..turn + 1)]).await?;
        handles[1 - turn % 2].finds_another_position(vec![run::<B>(&chain, turn..turn + 1)]).await?;
    }
    handles[0].holds(&[&chain]).await?;
    handles[1].holds(&[&chain]).await
}

/// Workers side by side read what they applied.
pub async fn workers_side_by_side_read_what_they_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let mut workers = Vec::new();
    for worker in 0..8 {
        let (view, chain) = (on.open().await, on.chain(&*format!("{worker}"), [1; 10]));
        workers.push(async move {
            let stream = named(&chain[0].key);
            for applied in 1..=chain.len() {
                view.applies(vec![run::<B>(&chain, applied - 1..applied)]).await?;
                tokio::task::yield_now().await;
                let (places, rows) = view.read(std::slice::from_ref(&stream)).await?;
                let number = places[0].position.map(Sequence::number);
                ensure_eq!(number, Some(applied as u64), "the position of {stream}");
                let expected = rows_of::<B>(&[&chain[..applied]]);
                ensure_eq!(rows.get(stream.as_str()), expected.get(stream.as_str()), "the row of {stream}");
            }
            Ok::<_, Violation>(())
        });
    }
    together(workers).await?.into_iter().collect()
}
