//! Take-over of the serving version by another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventsrc_core::view::{Applied, Batch, CatchUp, TakeOver, VersionedStore, ViewStore};
use futures::FutureExt;

use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::trial::{
    RunOf, ViewCommitOf, ViewHandle, ViewTrial, all, change_of, ensure_retryable, ensure_same_rows, named,
    rows_of, run, slices, stream_of,
};
use super::version_trial::{
    catch_up, ensure_taken_over, passed, serves, shows, takes_over, takes_over_reporting,
};

/// A version that is behind on no stream takes over.
pub(super) async fn an_up_to_date_version_takes_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1])];
    for view in [&one, &two] {
        view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    }
    ensure_eq!(takes_over_reporting(&two, Vec::new()).await?, Vec::new(), "the streams that are behind");
    serves(&[&one, &two], 2).await?;
    two.holds(&slices::<B>(&chains)).await
}

/// `catch_up` gets every stream of which this version is behind, from its own position to that of the serving
/// version, and no other stream.
pub(super) async fn catch_up_gets_every_stream_that_is_behind<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [behind, new, even, ahead, unknown] =
        ["behind", "new", "even", "ahead", "unknown"].map(|key| on.chain(key, [1, 2, 1, 1]));
    one.applies(vec![
        run::<B>(&behind, 0..3),
        run::<B>(&new, 0..2),
        run::<B>(&even, 0..2),
        run::<B>(&ahead, 0..1),
    ])
    .await?;
    two.applies(vec![
        run::<B>(&behind, 0..1),
        run::<B>(&even, 0..2),
        run::<B>(&ahead, 0..3),
        run::<B>(&unknown, 0..1),
    ])
    .await?;
    let mut reported = takes_over_reporting(&two, vec![behind.clone(), new.clone()]).await?;
    reported.sort_by(|a, b| a.stream.cmp(&b.stream));
    let expected = [change_of::<B>(&behind, 1..3), change_of::<B>(&new, 0..2)];
    ensure_eq!(reported, expected, "the streams that are behind");
    two.holds(&[&behind[..3], &new[..2], &even[..2], &ahead[..3], &unknown[..1]]).await
}

/// The batch of `catch_up` is applied, and readers see it at once.
pub(super) async fn the_catch_up_batch_is_applied<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chains: Vec<_> = (0..40).map(|stream| on.chain(&*format!("{stream:02}"), [1, 2, 1])).collect();
    one.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    two.applies(chains[..20].iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    takes_over(&two, chains.clone()).await?;
    for view in [&one, &two] {
        shows(view, &slices::<B>(&chains)).await?;
        view.holds(&slices::<B>(&chains)).await?;
    }
    Ok(())
}

/// `catch_up` is not called for a version that is behind on no stream: an empty one, one with equal positions, one
/// that is ahead, and the serving one.
pub(super) async fn catch_up_is_not_called_when_nothing_is_behind<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let views = [on.open_version(1).await, on.open_version(2).await];
    let chain = on.chain("a", [1, 2, 1, 1]);
    // The version that takes over, and the number of commits that are applied to it first.
    for (turn, (next, applied)) in [(1, 0), (0, 2), (1, 2), (1, 3), (0, 4)].into_iter().enumerate() {
        let view = &views[next];
        let before = passed::<B>(&chain, view.position("a").await?);
        if before < applied {
            view.applies(vec![run::<B>(&chain, before..applied)]).await?;
        }
        let called = Arc::new(AtomicBool::new(false));
        let records_call: CatchUp<B::Store> = Box::new({
            let called = Arc::clone(&called);
            move |_| {
                called.store(true, Ordering::SeqCst);
                async { Ok(Batch::new(Vec::new())) }.boxed()
            }
        });
        ensure_taken_over(view, records_call).await?;
        ensure!(
            !called.load(Ordering::SeqCst),
            "`catch_up` was called in turn {turn}, although nothing is behind"
        );
        serves(&[&views[0], &views[1]], next as u32 + 1).await?;
        shows(view, &[&chain[..applied]]).await?;
    }
    Ok(())
}

/// The batch of `catch_up` may contain commits that the serving version does not have yet.
pub(super) async fn catch_up_may_bring_later_commits<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2, 1, 1]);
    one.applies(vec![run::<B>(&chain, 0..2)]).await?;
    let commits_of_stream = chain.clone();
    let later_commits: CatchUp<B::Store> =
        Box::new(move |_| async move { Ok(Batch::new(vec![all::<B>(&commits_of_stream)])) }.boxed());
    ensure_taken_over(&two, later_commits).await?;
    two.holds(&[&chain]).await?;
    shows(&one, &[&chain]).await?;
    one.holds(&[&chain[..2]]).await
}

/// No position of the serving version changes while `catch_up` runs.
pub(super) async fn positions_do_not_change_during_a_take_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two, worker) = (on.open_version(1).await, on.open_version(2).await, on.open_version(1).await);
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1])];
    one.applies(vec![run::<B>(&chains[0], 0..1)]).await?;
    let outcome = Arc::new(Mutex::new(None));
    // The store may run `catch_up` on a thread of its own.
    let runtime = tokio::runtime::Handle::current();
    let catch_up_with_worker: CatchUp<B::Store> = {
        let (outcome, chains) = (Arc::clone(&outcome), chains.clone());
        Box::new(move |_| {
            async move {
                let mut works = runtime.spawn({
                    let chains = chains.clone();
                    async move { worker.apply(vec![run::<B>(&chains[0], 1..2), all::<B>(&chains[1])]).await }
                });
                // The call cannot end yet, however often it is polled.
                let mut was_applied = false;
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                    was_applied |= works.is_finished();
                }
                if was_applied {
                    let answer = (&mut works).await;
                    was_applied = matches!(answer, Ok(Ok(Applied::Done)));
                }
                *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some((was_applied, works));
                Ok(Batch::new(vec![run::<B>(&chains[0], 0..1)]))
            }
            .boxed()
        })
    };
    let answer = two.store().take_over(catch_up_with_worker).await?;
    let reported = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((was_applied, works)) = reported else {
        return Err(Violation::new("`catch_up` was not called, although the version is behind"));
    };
    ensure!(
        !was_applied,
        "a position of the serving version changed during a take-over, whose answer is {answer:?}"
    );
    ensure!(matches!(answer, TakeOver::Done), "the answer to the take-over is {answer:?}");
    if !works.is_finished() {
        // The call waited. After the take-over, it is applied or fails with a retryable error.
        let _ = works.await;
    }
    two.holds(&[&chains[0][..1]]).await?;
    shows(&one, &[&chains[0][..1]]).await
}

/// Readers that run concurrently with take-overs and a worker see positions that never decrease, with the rows that
/// belong to them.
pub(super) async fn readers_during_a_take_over_never_go_back<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    const COMMITS: usize = 40;
    let chains: Vec<_> = ["a", "b"].map(|key| on.chain(key, [1; COMMITS])).to_vec();
    let reader = on.open_version(1).await;
    let versions = [on.open_version(1).await, on.open_version(2).await];
    let works = tokio::spawn(apply_to_the_serving_version(versions.clone(), chains.clone()));
    let takes_over = tokio::spawn({
        let chains = chains.clone();
        async move {
            for turn in 0..12 {
                let next = &versions[1 - turn % 2];
                if let Err(error) = next.store().take_over(catch_up::<B>(chains.clone(), None)).await {
                    ensure_retryable(&error)?;
                }
                // Varies, so that the task is not in step with the worker and the reader.
                for _ in 0..=turn {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, Violation>(())
        }
    });
    let streams: Vec<_> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
    let mut seen = [0, 0];
    loop {
        let ended = takes_over.is_finished() && works.is_finished();
        let (stream_positions, rows) = reader.read(&streams).await?;
        let applied = [
            passed::<B>(&chains[0], stream_positions[0].position),
            passed::<B>(&chains[1], stream_positions[1].position),
        ];
        ensure!(
            applied.iter().zip(seen).all(|(now, before)| *now >= before),
            "a reader saw {seen:?} commits, and then {applied:?}"
        );
        ensure_same_rows(&rows, &rows_of::<B>(&[&chains[0][..applied[0]], &chains[1][..applied[1]]]))?;
        seen = applied;
        if ended {
            break;
        }
        tokio::task::yield_now().await;
    }
    for task in [takes_over, works] {
        task.await.map_err(|panic| Violation::new(panic.to_string()))??;
    }
    ensure_eq!(seen, [COMMITS, COMMITS], "commits that a reader sees at the end");
    Ok(())
}

/// Applies commit by commit to the serving version, until it has all commits.
async fn apply_to_the_serving_version<B: ViewBackend<Store: VersionedStore>>(
    versions: [ViewHandle<B>; 2],
    chains: Vec<Vec<ViewCommitOf<B>>>,
) -> RuleResult {
    for _ in 0..10_000 {
        let serving = &versions[versions[0].store().serving().await? as usize - 1];
        let mut runs = Vec::new();
        for chain in &chains {
            let next = passed::<B>(chain, serving.position(&chain[0].key).await?);
            if next < chain.len() {
                runs.push(run::<B>(chain, next..next + 1));
            }
        }
        if runs.is_empty() {
            return Ok(());
        }
        match serving.apply(runs).await {
            Ok(Applied::Done | Applied::PositionDiffers) => {}
            Ok(other) => return Err(Violation::new(format!("the answer to a valid batch is {other:?}"))),
            Err(error) => ensure_retryable(&error)?,
        }
        tokio::task::yield_now().await;
    }
    Err(Violation::new("the worker did not end within 10,000 rounds"))
}

/// If the batch of `catch_up` lacks commits of a stream, the version does not take over and nothing of the batch is
/// applied.
pub(super) async fn a_version_that_stays_behind_does_not_take_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [begun, new] = ["begun", "new"].map(|key| on.chain(key, [1, 2, 1]));
    one.applies(vec![all::<B>(&begun), all::<B>(&new)]).await?;
    two.applies(vec![run::<B>(&begun, 0..1)]).await?;
    let too_little: [Vec<RunOf<B>>; 5] = [
        Vec::new(),
        vec![run::<B>(&begun, 1..3)],
        vec![all::<B>(&new)],
        vec![run::<B>(&begun, 1..2), all::<B>(&new)],
        vec![run::<B>(&begun, 1..3), run::<B>(&new, 0..2)],
    ];
    for (at, runs) in too_little.into_iter().enumerate() {
        let short_catch_up: CatchUp<B::Store> =
            Box::new(move |_| async move { Ok(Batch::new(runs)) }.boxed());
        match two.store().take_over(short_catch_up).await {
            Ok(TakeOver::Behind) => {}
            other => {
                return Err(Violation::new(format!(
                    "the answer to a take-over with incomplete catch-up {at} is {other:?}"
                )));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&begun[..1]]).await?;
    }
    takes_over(&two, vec![begun.clone(), new.clone()]).await?;
    two.holds(&[&begun, &new]).await
}

/// A version does not take over if a stream is in quarantine behind the position of the serving version.
pub(super) async fn a_version_quarantined_behind_the_serving_one_does_not_take_over<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [begun, other] = ["begun", "other"].map(|key| on.chain(key, [1, 1]));
    one.applies(vec![all::<B>(&begun), all::<B>(&other)]).await?;
    two.applies(vec![run::<B>(&begun, 0..1)]).await?;
    let entry = on.quarantined_commit(&begun, 1);
    two.store().quarantine(&entry).await?;
    match two.store().take_over(catch_up::<B>(vec![begun.clone(), other.clone()], None)).await {
        Ok(TakeOver::Quarantined(streams)) => {
            ensure_eq!(
                streams,
                [named("begun")],
                "the streams in quarantine that the serving version is past"
            );
        }
        answer => {
            return Err(Violation::new(format!("the answer to a take-over past a quarantine is {answer:?}")));
        }
    }
    serves(&[&one, &two], 1).await?;
    two.holds(&[&begun[..1]]).await?;
    two.has_quarantined(&[&entry]).await?;
    two.store().release(&named("begun")).await?;
    takes_over(&two, vec![begun.clone(), other.clone()]).await
}

/// A quarantine at the position of the serving version does not prevent a take-over, and remains.
pub(super) async fn a_quarantine_that_is_not_behind_does_not_prevent_a_take_over<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [begun, other] = ["begun", "other"].map(|key| on.chain(key, [1, 1]));
    one.applies(vec![run::<B>(&begun, 0..1), all::<B>(&other)]).await?;
    two.applies(vec![run::<B>(&begun, 0..1)]).await?;
    let entry = on.quarantined_commit(&begun, 1);
    for view in [&one, &two] {
        view.store().quarantine(&entry).await?;
    }
    takes_over(&two, vec![other.clone()]).await?;
    two.has_quarantined(&[&entry]).await?;
    two.holds(&[&begun[..1], &other]).await
}
