//! Rules for view stores whose calls fail: workers that read positions after an error must reach the same state as
//! without faults.

use std::sync::Arc;

use eventsrc_core::StorageError;
use eventsrc_core::view::{Applied, ViewStore};

use super::super::trial::run_concurrently;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::faulty_backend::FaultyViewBackend;
use super::races::work;
use super::trial::{
    ViewCommitOf, ViewHandle, ViewTrial, ensure_retryable, ensure_same_rows, named, rows_of, run, slices,
};

type Faults<B> = ViewTrial<FaultyViewBackend<B>>;

/// After an error, positions and rows show whether the batch was applied. A worker that reads them applies every
/// commit once.
pub(super) async fn positions_show_the_effect_of_a_failed_call<B: ViewBackend>(on: &Faults<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", (0..60).map(|at| 1 + at % 3));
    let stream = [named("a")];
    let mut next = 0;
    while next < chain.len() {
        let answer = view.apply(vec![run::<FaultyViewBackend<B>>(&chain, next..next + 1)]).await;
        let (stream_positions, rows) = view.read(&stream).await?;
        let applied =
            chain.iter().take_while(|commit| Some(commit.last()) <= stream_positions[0].position).count();
        match answer {
            Ok(Applied::Done) => {
                ensure_eq!(applied, next + 1, "the commits that the position shows after `Done`");
            }
            Ok(other) => {
                return Err(Violation::new(format!(
                    "the answer to a batch from the right position is {other:?}"
                )));
            }
            Err(error) => {
                ensure_retryable(&error)?;
                let is_consistent = applied == next || applied == next + 1;
                ensure!(
                    is_consistent,
                    "the position shows {applied} commits after an error on commit {next}"
                );
            }
        }
        ensure_same_rows(&rows, &rows_of::<FaultyViewBackend<B>>(&[&chain[..applied]]))?;
        next = applied;
    }
    ensure_applied(&view, &[chain]).await
}

/// Racing workers whose calls fail read positions and apply every commit once.
pub(super) async fn racing_workers_whose_calls_fail_apply_every_commit_once<B: ViewBackend>(
    on: &Faults<B>,
) -> RuleResult {
    let chains: Arc<Vec<_>> = Arc::new(
        (0..8).map(|stream| on.chain(&*format!("{stream}"), (0..12).map(|at| 1 + at % 2))).collect(),
    );
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (view, chains) = (on.open().await, Arc::clone(&chains));
        workers.push(async move { work(&view, &chains, worker).await });
    }
    run_concurrently(workers).await?.into_iter().collect::<RuleResult>()?;
    ensure_applied(&on.open().await, &chains).await
}

/// Quarantines and skips whose calls fail are retried, and are recorded once.
pub(super) async fn retried_quarantines_and_skips_are_recorded_once<B: ViewBackend>(
    on: &Faults<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1; 20]);
    for index in 0..chain.len() {
        let (entry, skip) = (on.quarantined_commit(&chain, index), on.skip(&chain, index));
        retry(|| view.store().quarantine(&entry)).await?;
        let found = view.store().view().quarantined().await?;
        ensure_eq!(found, [entry], "the streams in quarantine");
        // True, or false if a failed call has recorded it.
        retry(|| view.store().skip(&skip)).await?;
        let found = view.store().view().skipped().await?;
        ensure_eq!(found.len(), index + 1, "the number of recorded skips");
        ensure_eq!(found.last(), Some(&skip), "the last recorded skip");
        ensure_eq!(view.store().view().quarantined().await?, [], "the streams in quarantine after a skip");
    }
    Ok(())
}

/// Retries a call until it succeeds.
async fn retry<T, R: Future<Output = Result<T, StorageError>>>(call: impl Fn() -> R) -> Result<T, Violation> {
    for _ in 0..1_000 {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => ensure_retryable(&error)?,
        }
    }
    Err(Violation::new("a call failed 1,000 times"))
}

/// Expects the view to consist of exactly these commits, as read without faults.
async fn ensure_applied<B: ViewBackend>(
    view: &ViewHandle<FaultyViewBackend<B>>,
    chains: &[Vec<ViewCommitOf<FaultyViewBackend<B>>>],
) -> RuleResult {
    ensure_same_rows(
        &view.rows().await?,
        &rows_of::<FaultyViewBackend<B>>(&slices::<FaultyViewBackend<B>>(chains)),
    )?;
    let positions = view.store().view().positions(None, 1_000_000).await?;
    let mut expected: Vec<_> =
        chains.iter().filter_map(|chain| Some((named(&chain[0].key), chain.last()?.last()))).collect();
    expected.sort();
    ensure_eq!(positions, expected, "the positions");
    Ok(())
}
