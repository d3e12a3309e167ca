//! Batches that the view's code or the database refuses.

use eventsrc_core::view::Applied;

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure};
use super::backend::ViewBackend;
use super::sample::ViewSample::{self, Break, BreakAtTheEnd, Fail, Panic, Text, Write};
use super::trial::{ViewTrial, all, run, slices};

/// An error of the view's code is the cause of the rejection, and the batch changes nothing.
pub(super) async fn an_error_of_the_code_is_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, Fail("no such user: 7".into())).await?;
    ensure!(cause.contains("no such user: 7"), "the cause is {cause:?}");
    Ok(())
}

/// A panic of the view's code is the cause of the rejection, and the batch changes nothing.
pub(super) async fn a_panic_of_the_code_is_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, Panic("index out of bounds: 7".into())).await?;
    ensure!(cause.contains("index out of bounds: 7"), "the cause is {cause:?}");
    Ok(())
}

/// Rows that violate a constraint of their table are rejected, and the batch changes nothing.
pub(super) async fn rows_that_violate_a_constraint_are_rejected<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, Break).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// Rows that violate a deferred constraint are rejected, and the batch changes nothing.
pub(super) async fn rows_that_violate_a_deferred_constraint_are_rejected<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, BreakAtTheEnd).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// A text that the database cannot store is rejected, and the batch changes nothing. A database that can store it
/// applies the batch.
pub(super) async fn a_text_that_cannot_be_stored_is_rejected<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1]), on.chain_of("b", [vec![Write, Text("a\0b".into())]])];
    match view.apply(chains.iter().map(|chain| all::<B>(chain)).collect()).await? {
        Applied::Done => view.holds(&[&chains[0], &chains[1]]).await?,
        Applied::Rejected(_) => view.holds(&[]).await?,
        other => {
            return Err(Violation::new(format!(
                "the answer to a batch from the right position is {other:?}"
            )));
        }
    }
    let next = on.chain("c", [1]);
    view.applies(vec![all::<B>(&next)]).await
}

/// A rejected event rejects the whole batch: the events before and after it in its commit, in its stream and in
/// others.
pub(super) async fn a_rejected_batch_changes_nothing<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let begun = [on.chain("a", [1, 2]), on.chain("z", [1, 2])];
    view.applies(begun.iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    for (at, payload) in [Fail("refused".into()), Panic("refused".into())].into_iter().enumerate() {
        for index in 0..3 {
            let mut commits = vec![vec![Write, Write]; 3];
            commits[index].insert(index.min(2), payload.clone());
            let refused = on.chain_of(&*format!("m {at} {index}"), commits);
            let runs = || {
                begun
                    .iter()
                    .map(|chain| run::<B>(chain, 1..2))
                    .chain([all::<B>(&refused)])
                    .collect::<Vec<_>>()
            };
            view.rejects(runs()).await?;
            view.holds(&[&begun[0][..1], &begun[1][..1]]).await?;
            view.rejects(runs()).await?;
        }
    }
    view.applies(begun.iter().map(|chain| run::<B>(chain, 1..2)).collect()).await?;
    view.holds(&[&begun[0], &begun[1]]).await
}

/// A store that has rejected 200 batches continues: rejections leak no resources.
pub(super) async fn rejections_leak_no_resources<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    for round in 0..200 {
        let payload = if round % 2 == 0 { Fail("refused".into()) } else { Panic("refused".into()) };
        let refused = on.chain_of("refused", [vec![Write], vec![payload]]);
        view.rejects(vec![all::<B>(&refused)]).await?;
    }
    let chain = on.chain("a", [2, 1]);
    view.applies_each(&chain).await?;
    view.holds(&[&chain]).await
}

/// Rejected batches do not affect concurrent ones.
pub(super) async fn rejections_do_not_affect_other_batches<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let mut tasks = Vec::new();
    let mut sound = Vec::new();
    for task in 0..8 {
        let chain = on.chain(&*format!("sound {task}"), [1; 10]);
        let refused = on.chain_of(&*format!("refused {task}"), [vec![Write], vec![Fail("refused".into())]]);
        sound.push(chain.clone());
        let view = view.clone();
        tasks.push(async move {
            for index in 0..chain.len() {
                if task % 2 == 0 {
                    view.rejects(vec![all::<B>(&refused)]).await?;
                }
                view.applies(vec![run::<B>(&chain, index..index + 1)]).await?;
            }
            Ok(())
        });
    }
    run_concurrently(tasks).await?.into_iter().collect::<RuleResult>()?;
    view.holds(&slices::<B>(&sound)).await
}

/// Applies a batch in which `payload` is in the second commit of a stream, and returns the cause of the rejection.
async fn rejected<B: ViewBackend>(on: &ViewTrial<B>, payload: ViewSample) -> Result<String, Violation> {
    let view = on.open().await;
    let refused = on.chain_of("m", [vec![Write], vec![Write, payload]]);
    let cause = view.rejects(vec![all::<B>(&refused)]).await?;
    view.holds(&[]).await?;
    view.applies(vec![run::<B>(&refused, 0..1)]).await?;
    view.rejects(vec![run::<B>(&refused, 1..2)]).await?;
    view.holds(&[&refused[..1]]).await?;
    view.has_quarantined(&[]).await?;
    Ok(cause)
}
