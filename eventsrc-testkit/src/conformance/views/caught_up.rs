//! Catching up that goes wrong.

use eventsrc_core::view::{CatchUp, TakeOver, VersionedStore};
use eventsrc_core::{ErrorKind, StorageError};
use futures::FutureExt;

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::{self, Break, BreakAtTheEnd, Fail, Panic, Write};
use super::taking_over::{catch_up, takes_over};
use super::trial::{ViewCommitOf, ViewHandle, ViewTrial, all, rows_of, run, same_rows, stream_of, told};
use super::versions::{serves, shows};

/// A `catch_up` that fails fails the take-over with its error, and nothing is changed; a later one may go well.
pub async fn a_catch_up_that_fails_changes_nothing<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2]);
    one.applies(vec![all::<B>(&chain)]).await?;
    two.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for kind in [ErrorKind::Unavailable, ErrorKind::Corrupt, ErrorKind::Refused] {
        let fails: CatchUp<B::Store> = Box::new(move |_| {
            async move { Err(StorageError::new(kind, "the events are out of reach")) }.boxed()
        });
        match two.store().take_over(fails).await {
            Err(error) if error.kind() == kind && error.to_string().contains("out of reach") => {}
            answer => {
                return Err(Violation::new(format!("a take-over whose catch-up failed came to {answer:?}")));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&chain[..1]]).await?;
        one.holds(&[&chain]).await?;
    }
    takes_over(&two, vec![chain.clone()]).await?;
    shows(&one, &[&chain]).await
}

/// A `catch_up` that brings what the code of the view refuses makes the take-over `Rejected`, and nothing is changed.
pub async fn a_catch_up_that_the_code_refuses_changes_nothing<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    for (name, payload) in
        [("errors", Fail("no such user: 7".into())), ("panics", Panic("no such user: 7".into()))]
    {
        let cause = rejected(on, name, payload).await?;
        ensure!(cause.contains("no such user: 7"), "the cause is {cause:?}");
    }
    Ok(())
}

/// A `catch_up` that brings rows which break a rule of their table makes the take-over `Rejected`, and nothing is changed.
pub async fn a_catch_up_that_breaks_a_rule_changes_nothing<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, "ledger", Break).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// A `catch_up` that brings rows which break a rule that is looked at when the transaction ends makes the take-over
/// `Rejected`, and nothing is changed.
pub async fn a_catch_up_that_breaks_a_rule_at_the_end_changes_nothing<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, "ledger", BreakAtTheEnd).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// Has the view called `name` taken over by a version that lies behind on a commit of `payload`, which the serving one has
/// left out; gives the cause of the rejection.
async fn rejected<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
    name: &str,
    payload: ViewSample,
) -> Result<String, Violation> {
    let (one, two) = (on.open_view(name, 1).await, on.open_view(name, 2).await);
    let sound = [on.chain("a", [1, 2]), on.chain("z", [1])];
    let refused = on.chain_of("m", [vec![Write], vec![Write, payload], vec![Write]]);
    one.applies(vec![all::<B>(&sound[0]), all::<B>(&sound[1]), run::<B>(&refused, 0..1)]).await?;
    let skip = on.skip(&refused, 1);
    one.skips(&skip).await?;
    two.applies(vec![run::<B>(&sound[0], 0..1)]).await?;
    let brought = vec![sound[0].clone(), sound[1].clone(), refused.clone()];
    let mut cause = String::new();
    // Nothing is used up, either.
    for _ in 0..2 {
        match two.store().take_over(catch_up::<B>(brought.clone(), None)).await {
            Ok(TakeOver::Rejected(error)) => cause = told(&*error),
            answer => {
                return Err(Violation::new(format!("a take-over with what is refused came to {answer:?}")));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&sound[0][..1]]).await?;
        two.quarantines(&[]).await?;
        two.has_skipped(&[]).await?;
        shows_sound(&one, &sound, &refused).await?;
    }
    two.applies(vec![run::<B>(&refused, 0..1)]).await?;
    two.skips(&skip).await?;
    takes_over(&two, brought).await?;
    shows_sound(&two, &sound, &refused).await?;
    Ok(cause)
}

/// Expects readers to see all of the sound streams, and of the other one what lies before the commit that was left out.
async fn shows_sound<B: ViewBackend>(
    view: &ViewHandle<B>,
    sound: &[Vec<ViewCommitOf<B>>; 2],
    refused: &[ViewCommitOf<B>],
) -> RuleResult {
    let streams = [stream_of::<B>(&sound[0]), stream_of::<B>(&sound[1]), stream_of::<B>(refused)];
    let (places, rows) = view.read(&streams).await?;
    same_rows(&rows, &rows_of::<B>(&[&sound[0], &sound[1], &refused[..1]]))?;
    let positions = [&sound[0][1], &sound[1][0], &refused[1]].map(|commit| Some(commit.last()));
    ensure_eq!(places.iter().map(|place| place.position).collect::<Vec<_>>(), positions, "the positions");
    Ok(())
}
