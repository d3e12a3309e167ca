//! Batches that the view refuses.

use eventsrc_core::view::Applied;

use super::super::report::{RuleResult, Violation, ensure};
use super::super::trial::together;
use super::backend::ViewBackend;
use super::sample::ViewSample::{self, Break, BreakAtTheEnd, Fail, Panic, Text, Write};
use super::trial::{ViewTrial, all, run};

/// An error of the view's code is the cause of the rejection, and nothing is changed.
pub async fn an_error_of_the_code_is_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, Fail("no such user: 7".into())).await?;
    ensure!(cause.contains("no such user: 7"), "the cause is {cause:?}");
    Ok(())
}

/// A panic of the view's code is the cause of the rejection, and nothing is changed.
pub async fn a_panic_of_the_code_is_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, Panic("index out of bounds: 7".into())).await?;
    ensure!(cause.contains("index out of bounds: 7"), "the cause is {cause:?}");
    Ok(())
}

/// Rows that break a rule of their table are rejected, and nothing is changed.
pub async fn rows_that_break_a_rule_are_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, Break).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// Rows that break a rule which is looked at when the transaction ends are rejected, and nothing is changed.
pub async fn rows_that_break_a_rule_at_the_end_are_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let cause = rejected(on, BreakAtTheEnd).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// A text that the database cannot hold is rejected, and nothing is changed; one that holds it has it.
pub async fn a_text_that_cannot_be_held_is_rejected<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1]), on.chain_of("b", [vec![Write, Text("a\0b".into())]])];
    match view.apply(chains.iter().map(|chain| all::<B>(chain)).collect()).await? {
        Applied::Done => view.holds(&[&chains[0], &chains[1]]).await?,
        Applied::Rejected(_) => view.holds(&[]).await?,
        other => {
            return Err(Violation::new(format!("a batch that stands right was answered with {other:?}")));
        }
    }
    let next = on.chain("c", [1]);
    view.applies(vec![all::<B>(&next)]).await
}

/// What is refused takes the whole batch with it: what comes before and after it in its commit, in its stream and in others.
pub async fn a_rejected_batch_changes_nothing<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let begun = [on.chain("a", [1, 2]), on.chain("z", [1, 2])];
    view.applies(begun.iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    for (at, payload) in [Fail("refused".into()), Panic("refused".into())].into_iter().enumerate() {
        for place in 0..3 {
            let mut commits = vec![vec![Write, Write]; 3];
            commits[place].insert(place.min(2), payload.clone());
            let refused = on.chain_of(&*format!("m {at} {place}"), commits);
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

/// A store that has rejected 200 batches goes on: nothing is used up.
pub async fn rejections_use_nothing_up<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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

/// Batches that are rejected leave those beside them alone.
pub async fn rejections_leave_others_alone<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
    together(tasks).await?.into_iter().collect::<RuleResult>()?;
    view.holds(&super::applying::slices::<B>(&sound)).await
}

/// Applies a batch of which `payload` makes the second commit of a stream, and gives the cause of the rejection.
async fn rejected<B: ViewBackend>(on: &ViewTrial<B>, payload: ViewSample) -> Result<String, Violation> {
    let view = on.open().await;
    let refused = on.chain_of("m", [vec![Write], vec![Write, payload]]);
    let cause = view.rejects(vec![all::<B>(&refused)]).await?;
    view.holds(&[]).await?;
    view.applies(vec![run::<B>(&refused, 0..1)]).await?;
    view.rejects(vec![run::<B>(&refused, 1..2)]).await?;
    view.holds(&[&refused[..1]]).await?;
    view.quarantines(&[]).await?;
    Ok(cause)
}
