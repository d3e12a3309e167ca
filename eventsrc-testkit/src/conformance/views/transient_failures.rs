//! Transient failures.

use eventsrc_core::view::{Applied, ViewStore};
use futures::future::join;

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::WriteTo;
use super::trial::{ViewTrial, all, ensure_retryable, named, rows_of, run};

/// Batches that deadlock on rows are applied or fail, and are never rejected, because a deadlock is no error of the
/// view's code.
pub(super) async fn a_deadlock_is_never_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    const ROUNDS: usize = 25;
    let names: Vec<String> = (0..6).map(|name| format!("shared {name}")).collect();
    let mut workers = Vec::new();
    let mut chains = Vec::new();
    for worker in 0..2 {
        let names: Vec<_> = if worker == 0 { names.clone() } else { names.iter().rev().cloned().collect() };
        let chain = on.chain_of(&*format!("{worker}"), vec![vec![WriteTo(names)]; ROUNDS]);
        chains.push(chain.clone());
        let view = on.open().await;
        workers.push(async move {
            for index in 0..chain.len() {
                for attempt in 0.. {
                    ensure!(attempt < 100, "commit {index} failed 100 times");
                    match view.apply(vec![run::<B>(&chain, index..index + 1)]).await {
                        Ok(Applied::Done) => break,
                        // A failed attempt may have been applied.
                        Ok(Applied::PositionDiffers) if attempt > 0 => break,
                        Err(error) => ensure_retryable(&error)?,
                        other => {
                            return Err(Violation::new(format!("the answer to commit {index} is {other:?}")));
                        }
                    }
                }
            }
            Ok(())
        });
    }
    run_concurrently(workers).await?.into_iter().collect::<RuleResult>()?;
    let rows = on.open().await.rows().await?;
    // The order of the two writers is open. Each must have written everything once.
    let sorted = |text: &str| {
        let mut marks: Vec<_> = text.split(' ').map(str::to_owned).collect();
        marks.sort_unstable();
        marks
    };
    let expected = rows_of::<B>(&[&chains[0], &chains[1]]);
    for name in names {
        let found = rows.get(&name).map(|text| sorted(text));
        ensure_eq!(
            found,
            expected.get(&name).map(|text| sorted(text)),
            "the events that were written to {name}"
        );
    }
    Ok(())
}

/// A batch during an interruption is an error, and can be applied after the interruption.
pub(super) async fn an_interruption_is_an_error<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    let (backend, location) = on.location();
    let end_interruption = backend.interrupt(location).await;
    let answer = view.apply(vec![run::<B>(&chain, 1..2)]).await;
    end_interruption.await;
    ensure!(answer.is_err(), "the answer to an interrupted batch is {answer:?}");
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..3)]).await?;
    view.holds(&[&chain]).await
}

/// A request for positions during an interruption is an error, and never returns a missing position.
pub(super) async fn an_interruption_never_returns_a_wrong_position<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let (backend, location) = on.location();
    let end_interruption = backend.interrupt(location).await;
    let stream = [named("a")];
    let (stream_positions, positions) =
        join(view.store().positions_of(&stream), view.store().positions(None, 10)).await;
    end_interruption.await;
    let at = Some(chain[0].last());
    if let Ok(stream_positions) = stream_positions {
        ensure_eq!(
            stream_positions.iter().map(|stream_position| stream_position.position).collect::<Vec<_>>(),
            [at],
            "the requested position of a"
        );
    }
    if let Ok(positions) = positions {
        ensure_eq!(positions.iter().map(|(_, at)| Some(*at)).collect::<Vec<_>>(), [at], "the positions");
    }
    Ok(())
}
