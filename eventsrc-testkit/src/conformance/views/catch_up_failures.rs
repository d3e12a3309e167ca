//! Take-overs whose catch-up fails or is rejected.

use eventsrc_core::view::{CatchUp, TakeOver, VersionedStore};
use eventsrc_core::{ErrorKind, StorageError};
use futures::FutureExt;

use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::{self, Break, BreakAtTheEnd, Fail, Panic, Write};
use super::trial::{
    ViewCommitOf, ViewHandle, ViewTrial, all, ensure_same_rows, error_chain, rows_of, run, stream_of,
};
use super::version_trial::{catch_up, serves, shows, takes_over};

/// If `catch_up` fails, the take-over returns its error and changes nothing. A later take-over can succeed.
pub(super) async fn a_catch_up_that_fails_changes_nothing<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2]);
    one.applies(vec![all::<B>(&chain)]).await?;
    two.applies(vec![run::<B>(&chain, 0..1)]).await?;
    for kind in [ErrorKind::Unavailable, ErrorKind::Corrupt, ErrorKind::Refused] {
        let fails: CatchUp<B::Store> = Box::new(move |_| {
            async move { Err(StorageError::new(kind, "the events are unavailable")) }.boxed()
        });
        match two.store().take_over(fails).await {
            Err(error)
                if error.kind() == kind && error.to_string().contains("the events are unavailable") => {}
            answer => {
                return Err(Violation::new(format!(
                    "the answer to a take-over whose catch-up failed is {answer:?}"
                )));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&chain[..1]]).await?;
        one.holds(&[&chain]).await?;
    }
    takes_over(&two, vec![chain.clone()]).await?;
    shows(&one, &[&chain]).await
}

/// If the view's code refuses the batch of `catch_up`, the take-over is `Rejected` and changes nothing.
pub(super) async fn a_catch_up_rejected_by_the_code_changes_nothing<B: ViewBackend<Store: VersionedStore>>(
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

/// If the batch of `catch_up` violates a constraint, the take-over is `Rejected` and changes nothing.
pub(super) async fn a_catch_up_that_violates_a_constraint_changes_nothing<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, "ledger", Break).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// If the batch of `catch_up` violates a deferred constraint, the take-over is `Rejected` and changes nothing.
pub(super) async fn a_catch_up_that_violates_a_deferred_constraint_changes_nothing<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let cause = rejected(on, "ledger", BreakAtTheEnd).await?;
    ensure!(!cause.is_empty(), "there is no cause");
    Ok(())
}

/// Attempts a take-over by a version that is behind on a commit with `payload`, which the serving version has
/// skipped. Returns the cause of the rejection.
async fn rejected<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
    name: &str,
    payload: ViewSample,
) -> Result<String, Violation> {
    let (one, two) = (on.open_view(name, 1).await, on.open_view(name, 2).await);
    let accepted = [on.chain("a", [1, 2]), on.chain("z", [1])];
    let refused = on.chain_of("m", [vec![Write], vec![Write, payload], vec![Write]]);
    one.applies(vec![all::<B>(&accepted[0]), all::<B>(&accepted[1]), run::<B>(&refused, 0..1)]).await?;
    let skip = on.skip(&refused, 1);
    one.skips(&skip).await?;
    two.applies(vec![run::<B>(&accepted[0], 0..1)]).await?;
    let chains = vec![accepted[0].clone(), accepted[1].clone(), refused.clone()];
    let mut cause = String::new();
    // Twice, because a rejection must leak no resources.
    for _ in 0..2 {
        match two.store().take_over(catch_up::<B>(chains.clone(), None)).await {
            Ok(TakeOver::Rejected(error)) => cause = error_chain(&*error),
            answer => {
                return Err(Violation::new(format!(
                    "the answer to a take-over with a refused batch is {answer:?}"
                )));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&accepted[0][..1]]).await?;
        two.has_quarantined(&[]).await?;
        two.has_skipped(&[]).await?;
        shows_accepted(&one, &accepted, &refused).await?;
    }
    two.applies(vec![run::<B>(&refused, 0..1)]).await?;
    two.skips(&skip).await?;
    takes_over(&two, chains).await?;
    shows_accepted(&two, &accepted, &refused).await?;
    Ok(cause)
}

/// Expects readers to see all of the accepted streams, and of the refused one the commits before the skip.
async fn shows_accepted<B: ViewBackend>(
    view: &ViewHandle<B>,
    accepted: &[Vec<ViewCommitOf<B>>; 2],
    refused: &[ViewCommitOf<B>],
) -> RuleResult {
    let streams = [stream_of::<B>(&accepted[0]), stream_of::<B>(&accepted[1]), stream_of::<B>(refused)];
    let (stream_positions, rows) = view.read(&streams).await?;
    ensure_same_rows(&rows, &rows_of::<B>(&[&accepted[0], &accepted[1], &refused[..1]]))?;
    let positions = [&accepted[0][1], &accepted[1][0], &refused[1]].map(|commit| Some(commit.last()));
    ensure_eq!(
        stream_positions.iter().map(|stream_position| stream_position.position).collect::<Vec<_>>(),
        positions,
        "the positions"
    );
    Ok(())
}
