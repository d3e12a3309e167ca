//! Helpers of the rules about versions of a view.

use std::sync::{Arc, Mutex, PoisonError};

use eventsrc_core::ErrorKind;
use eventsrc_core::view::{Batch, CatchUp, PositionChange, TakeOver, VersionedStore, ViewStore};
use futures::FutureExt;

use super::super::violation::{RuleResult, Violation, ensure_eq};
use super::backend::{ViewBackend, ViewSequenceOf};
use super::trial::{ViewCommitOf, ViewHandle, ensure_same_rows, rows_of, run, stream_of};

/// Position changes of the streams of which a version is behind the serving one.
pub(super) type Changes<B> = Vec<PositionChange<ViewSequenceOf<B>>>;

/// Returns the number of commits at or before a position.
pub(super) fn passed<B: ViewBackend>(
    chain: &[ViewCommitOf<B>],
    position: Option<ViewSequenceOf<B>>,
) -> usize {
    chain.iter().take_while(|commit| Some(commit.last()) <= position).count()
}

/// Returns a `catch_up` that provides the missing commits from these streams, and stores the changes that it is given
/// in `reported`.
pub(super) fn catch_up<B: ViewBackend<Store: VersionedStore>>(
    chains: Vec<Vec<ViewCommitOf<B>>>,
    reported: Option<Arc<Mutex<Changes<B>>>>,
) -> CatchUp<B::Store> {
    Box::new(move |changes| {
        async move {
            let run_of = |change: &PositionChange<_>| {
                let chain = chains.iter().find(|chain| stream_of::<B>(chain) == change.stream)?;
                let commits = passed::<B>(chain, change.from)..passed::<B>(chain, Some(change.to));
                (!commits.is_empty()).then(|| run::<B>(chain, commits))
            };
            let runs = changes.iter().filter_map(run_of).collect();
            if let Some(reported) = reported {
                *reported.lock().unwrap_or_else(PoisonError::into_inner) = changes;
            }
            Ok(Batch::new(runs))
        }
        .boxed()
    })
}

/// Takes over with the missing commits of these streams, and expects `Done`.
pub(super) async fn takes_over<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    chains: Vec<Vec<ViewCommitOf<B>>>,
) -> RuleResult {
    ensure_taken_over(view, catch_up::<B>(chains, None)).await
}

/// Takes over like [`takes_over`], and returns the changes that `catch_up` was given. The list is empty if `catch_up`
/// was not called.
pub(super) async fn takes_over_reporting<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    chains: Vec<Vec<ViewCommitOf<B>>>,
) -> Result<Changes<B>, Violation> {
    let reported = Arc::default();
    ensure_taken_over(view, catch_up::<B>(chains, Some(Arc::clone(&reported)))).await?;
    let reported = std::mem::take(&mut *reported.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(reported)
}

/// Takes over with `catch_up`, and expects `Done`.
pub(super) async fn ensure_taken_over<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    catch_up: CatchUp<B::Store>,
) -> RuleResult {
    match view.store().take_over(catch_up).await {
        Ok(TakeOver::Done) => serves(&[view], view.store().definition().version()).await,
        other => Err(Violation::new(format!(
            "{}: expected the take-over to be `Done`, got {other:?}",
            view.store().definition()
        ))),
    }
}

/// Retires the version, and expects an error of kind `Invalid`.
pub(super) async fn refuses_to_retire<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
) -> RuleResult {
    match view.store().retire().await {
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
        other => Err(Violation::new(format!(
            "retiring the serving version: expected an error of kind `Invalid`, got {other:?}"
        ))),
    }
}

/// Expects this version to serve, as every handle reports.
pub(super) async fn serves<B: ViewBackend<Store: VersionedStore>>(
    views: &[&ViewHandle<B>],
    version: u32,
) -> RuleResult {
    for view in views {
        let view_name = view.store().definition();
        ensure_eq!(view.store().serving().await?, version, "the serving version, as {view_name} reports");
    }
    Ok(())
}

/// Expects readers through this handle to see exactly these commits, in rows and positions.
pub(super) async fn shows<B: ViewBackend>(view: &ViewHandle<B>, chains: &[&[ViewCommitOf<B>]]) -> RuleResult {
    let streams: Vec<_> =
        chains.iter().filter(|chain| !chain.is_empty()).map(|chain| stream_of::<B>(chain)).collect();
    let (stream_positions, rows) = view.read(&streams).await?;
    ensure_same_rows(&rows, &rows_of::<B>(chains))?;
    let positions = chains.iter().filter_map(|chain| chain.last()).map(|commit| Some(commit.last()));
    let found: Vec<_> = stream_positions.iter().map(|stream_position| stream_position.position).collect();
    ensure_eq!(found, positions.collect::<Vec<_>>(), "the positions that a reader sees");
    Ok(())
}
