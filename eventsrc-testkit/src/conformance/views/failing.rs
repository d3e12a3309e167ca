//! What may go well another time.

use eventsrc_core::view::{Applied, ViewStore};
use futures::future::join;

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::together;
use super::backend::ViewBackend;
use super::racing::may_be_tried_again;
use super::sample::ViewSample::WriteTo;
use super::trial::{ViewTrial, all, rows_of, run};

/// Batches that lock rows in a circle are applied or fail, and are never rejected: a deadlock is nobody's mistake.
pub async fn rows_locked_in_a_circle_are_never_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
                    ensure!(attempt < 100, "commit {index} fails again and again");
                    match view.apply(vec![run::<B>(&chain, index..index + 1)]).await {
                        Ok(Applied::Done) => break,
                        // An attempt that failed may have been applied.
                        Ok(Applied::PositionDiffers) if attempt > 0 => break,
                        Err(error) => may_be_tried_again(&error)?,
                        other => return Err(Violation::new(format!("commit {index} came to {other:?}"))),
                    }
                }
            }
            Ok(())
        });
    }
    together(workers).await?.into_iter().collect::<RuleResult>()?;
    let rows = on.open().await.rows().await?;
    // In which order the two wrote is not said, but that each wrote everything once is.
    let sorted = |text: &str| {
        let mut marks: Vec<_> = text.split(' ').map(str::to_owned).collect();
        marks.sort_unstable();
        marks
    };
    let expected = rows_of::<B>(&[&chains[0], &chains[1]]);
    for name in names {
        let found = rows.get(&name).map(|text| sorted(text));
        ensure_eq!(found, expected.get(&name).map(|text| sorted(text)), "what was written to {name}");
    }
    Ok(())
}

/// A batch that meets an interruption is an error, and is applied once the interruption is over.
pub async fn an_interruption_is_an_error<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    let (backend, place) = on.place();
    let mend = backend.interrupt(place).await;
    let answer = view.apply(vec![run::<B>(&chain, 1..2)]).await;
    mend.await;
    ensure!(answer.is_err(), "an interrupted batch came to {answer:?}");
    view.holds(&[&chain[..1]]).await?;
    view.applies(vec![run::<B>(&chain, 1..3)]).await?;
    view.holds(&[&chain]).await
}

/// Places that cannot be asked for are an error, never those of a stream that was not applied.
pub async fn an_interruption_hides_no_position<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let (backend, place) = on.place();
    let mend = backend.interrupt(place).await;
    let stream = [super::trial::named("a")];
    let (places, positions) =
        join(view.store().positions_of(&stream), view.store().positions(None, 10)).await;
    mend.await;
    let at = Some(chain[0].last());
    if let Ok(places) = places {
        ensure_eq!(places.iter().map(|place| place.position).collect::<Vec<_>>(), [at], "the place of a");
    }
    if let Ok(positions) = positions {
        ensure_eq!(positions.iter().map(|(_, at)| Some(*at)).collect::<Vec<_>>(), [at], "the positions");
    }
    Ok(())
}
