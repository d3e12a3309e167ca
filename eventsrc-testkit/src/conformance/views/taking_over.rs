//! How a version takes over from the one that serves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventsrc_core::view::{Applied, Batch, CatchUp, PositionChange, TakeOver, VersionedStore, ViewStore};
use futures::FutureExt;

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::applying::slices;
use super::backend::{ViewBackend, ViewSequenceOf};
use super::racing::may_be_tried_again;
use super::trial::{
    RunOf, ViewCommitOf, ViewHandle, ViewTrial, all, move_of, named, rows_of, run, same_rows, stream_of,
};
use super::versions::{serves, shows};

type Moves<B> = Vec<PositionChange<ViewSequenceOf<B>>>;

/// A version that lies nowhere behind takes over.
pub async fn a_version_that_lies_nowhere_behind_takes_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1])];
    for view in [&one, &two] {
        view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    }
    ensure_eq!(takes_over_telling(&two, Vec::new()).await?, Vec::new(), "the streams that lie behind");
    serves(&[&one, &two], 2).await?;
    two.holds(&slices::<B>(&chains)).await
}

/// `catch_up` is given every stream of which this version lies behind, from where it is to where the serving one is, and
/// no other.
pub async fn catch_up_is_given_every_stream_that_lies_behind<B: ViewBackend<Store: VersionedStore>>(
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
    let mut told = takes_over_telling(&two, vec![behind.clone(), new.clone()]).await?;
    told.sort_by(|a, b| a.stream.cmp(&b.stream));
    let expected = [move_of::<B>(&behind, 1..3), move_of::<B>(&new, 0..2)];
    ensure_eq!(told, expected, "the streams that lie behind");
    two.holds(&[&behind[..3], &new[..2], &even[..2], &ahead[..3], &unknown[..1]]).await
}

/// What `catch_up` brings is applied, and is there for readers at once.
pub async fn what_catch_up_brings_is_applied<B: ViewBackend<Store: VersionedStore>>(
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

/// `catch_up` is not called for a version that lies nowhere behind: where nothing was applied, where it is level, where it is
/// ahead, and where it serves.
pub async fn catch_up_is_not_called_for_nothing<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let views = [on.open_version(1).await, on.open_version(2).await];
    let chain = on.chain("a", [1, 2, 1, 1]);
    // Whose turn it is, and how many commits it is brought first.
    for (turn, (next, applied)) in [(1, 0), (0, 2), (1, 2), (1, 3), (0, 4)].into_iter().enumerate() {
        let view = &views[next];
        let before = passed::<B>(&chain, view.position("a").await?);
        if before < applied {
            view.applies(vec![run::<B>(&chain, before..applied)]).await?;
        }
        let called = Arc::new(AtomicBool::new(false));
        let tells: CatchUp<B::Store> = Box::new({
            let called = Arc::clone(&called);
            move |_| {
                called.store(true, Ordering::SeqCst);
                async { Ok(Batch::new(Vec::new())) }.boxed()
            }
        });
        done(view, tells).await?;
        ensure!(!called.load(Ordering::SeqCst), "`catch_up` was called in turn {turn}, for nothing");
        serves(&[&views[0], &views[1]], next as u32 + 1).await?;
        shows(view, &[&chain[..applied]]).await?;
    }
    Ok(())
}

/// `catch_up` may bring commits that the serving version does not have yet.
pub async fn catch_up_may_bring_later_commits<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2, 1, 1]);
    one.applies(vec![run::<B>(&chain, 0..2)]).await?;
    let brought = chain.clone();
    let later: CatchUp<B::Store> =
        Box::new(move |_| async move { Ok(Batch::new(vec![all::<B>(&brought)])) }.boxed());
    done(&two, later).await?;
    two.holds(&[&chain]).await?;
    shows(&one, &[&chain]).await?;
    one.holds(&[&chain[..2]]).await
}

/// While `catch_up` runs, no position of the serving version moves.
pub async fn positions_stand_still_during_a_take_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two, worker) = (on.open_version(1).await, on.open_version(2).await, on.open_version(1).await);
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1])];
    one.applies(vec![run::<B>(&chains[0], 0..1)]).await?;
    let moved = Arc::new(Mutex::new(None));
    // The store may run `catch_up` on a thread of its own.
    let runtime = tokio::runtime::Handle::current();
    let telling: CatchUp<B::Store> = {
        let (moved, chains) = (Arc::clone(&moved), chains.clone());
        Box::new(move |_| {
            async move {
                let mut works = runtime.spawn({
                    let chains = chains.clone();
                    async move { worker.apply(vec![run::<B>(&chains[0], 1..2), all::<B>(&chains[1])]).await }
                });
                // The call cannot come to an end yet, however often it is its turn.
                let mut moved_on = false;
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                    moved_on |= works.is_finished();
                }
                if moved_on {
                    let answer = (&mut works).await;
                    moved_on = matches!(answer, Ok(Ok(Applied::Done)));
                }
                *moved.lock().unwrap_or_else(PoisonError::into_inner) = Some((moved_on, works));
                Ok(Batch::new(vec![run::<B>(&chains[0], 0..1)]))
            }
            .boxed()
        })
    };
    let answer = two.store().take_over(telling).await?;
    let told = moved.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((moved_on, works)) = told else {
        return Err(Violation::new("`catch_up` was not called, though the version lies behind"));
    };
    ensure!(!moved_on, "the serving version moved on during a take-over, which came to {answer:?}");
    ensure!(matches!(answer, TakeOver::Done), "the take-over came to {answer:?}");
    if !works.is_finished() {
        // It waited; now that the take-over is over it is applied, or found that it has to be tried again.
        let _ = works.await;
    }
    two.holds(&[&chains[0][..1]]).await?;
    shows(&one, &[&chains[0][..1]]).await
}

/// Readers beside take-overs and a worker see every position go forward only, with the rows that belong to it.
pub async fn readers_beside_a_take_over_never_go_back<B: ViewBackend<Store: VersionedStore>>(
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
                    may_be_tried_again(&error)?;
                }
                // Never in step with the worker and the reader.
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
        let (places, rows) = reader.read(&streams).await?;
        let applied =
            [passed::<B>(&chains[0], places[0].position), passed::<B>(&chains[1], places[1].position)];
        ensure!(
            applied.iter().zip(seen).all(|(now, before)| *now >= before),
            "a reader saw {seen:?} commits, and then {applied:?}"
        );
        same_rows(&rows, &rows_of::<B>(&[&chains[0][..applied[0]], &chains[1][..applied[1]]]))?;
        seen = applied;
        if ended {
            break;
        }
        tokio::task::yield_now().await;
    }
    for task in [takes_over, works] {
        task.await.map_err(|panic| Violation::new(panic.to_string()))??;
    }
    ensure_eq!(seen, [COMMITS, COMMITS], "commits that a reader sees in the end");
    Ok(())
}

/// Applies commit by commit to whichever version serves, until that one has all.
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
            Ok(other) => return Err(Violation::new(format!("a sound batch was answered with {other:?}"))),
            Err(error) => may_be_tried_again(&error)?,
        }
        tokio::task::yield_now().await;
    }
    Err(Violation::new("the worker does not come to an end"))
}

/// How many of the commits lie at or before a position.
fn passed<B: ViewBackend>(chain: &[ViewCommitOf<B>], position: Option<ViewSequenceOf<B>>) -> usize {
    chain.iter().take_while(|commit| Some(commit.last()) <= position).count()
}

/// A version that would lie behind on a stream for which nothing, or too little, was brought does not take over, and what was
/// brought for others is not applied.
pub async fn a_version_that_would_lie_behind_does_not_take_over<B: ViewBackend<Store: VersionedStore>>(
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
        let brings: CatchUp<B::Store> = Box::new(move |_| async move { Ok(Batch::new(runs)) }.boxed());
        match two.store().take_over(brings).await {
            Ok(TakeOver::Behind) => {}
            other => {
                return Err(Violation::new(format!("catch-up {at} is too little, and came to {other:?}")));
            }
        }
        serves(&[&one, &two], 1).await?;
        two.holds(&[&begun[..1]]).await?;
    }
    takes_over(&two, vec![begun.clone(), new.clone()]).await?;
    two.holds(&[&begun, &new]).await
}

/// A version with a stream in quarantine that the serving one is past does not take over.
pub async fn a_version_with_a_quarantine_behind_does_not_take_over<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [begun, other] = ["begun", "other"].map(|key| on.chain(key, [1, 1]));
    one.applies(vec![all::<B>(&begun), all::<B>(&other)]).await?;
    two.applies(vec![run::<B>(&begun, 0..1)]).await?;
    let poison = on.poison(&begun, 1);
    two.store().quarantine(&poison).await?;
    match two.store().take_over(catch_up::<B>(vec![begun.clone(), other.clone()], None)).await {
        Ok(TakeOver::Quarantined(streams)) => {
            ensure_eq!(
                streams,
                [named("begun")],
                "the streams in quarantine that the serving version is past"
            );
        }
        answer => return Err(Violation::new(format!("a take-over past a quarantine came to {answer:?}"))),
    }
    serves(&[&one, &two], 1).await?;
    two.holds(&[&begun[..1]]).await?;
    two.quarantines(&[&poison]).await?;
    two.store().release(&named("begun")).await?;
    takes_over(&two, vec![begun.clone(), other.clone()]).await
}

/// A quarantine where the serving version has not gone on either hinders nobody, and is kept.
pub async fn a_quarantine_that_lies_nowhere_behind_hinders_nobody<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let [begun, other] = ["begun", "other"].map(|key| on.chain(key, [1, 1]));
    one.applies(vec![run::<B>(&begun, 0..1), all::<B>(&other)]).await?;
    two.applies(vec![run::<B>(&begun, 0..1)]).await?;
    let poison = on.poison(&begun, 1);
    for view in [&one, &two] {
        view.store().quarantine(&poison).await?;
    }
    takes_over(&two, vec![other.clone()]).await?;
    two.quarantines(&[&poison]).await?;
    two.holds(&[&begun[..1], &other]).await
}

/// Brings what lies behind from these streams, and tells what that is.
pub(super) fn catch_up<B: ViewBackend<Store: VersionedStore>>(
    chains: Vec<Vec<ViewCommitOf<B>>>,
    told: Option<Arc<Mutex<Moves<B>>>>,
) -> CatchUp<B::Store> {
    Box::new(move |moves| {
        async move {
            let bring = |moved: &PositionChange<_>| {
                let chain = chains.iter().find(|chain| stream_of::<B>(chain) == moved.stream)?;
                let commits = passed::<B>(chain, moved.from)..passed::<B>(chain, Some(moved.to));
                (!commits.is_empty()).then(|| run::<B>(chain, commits))
            };
            let runs = moves.iter().filter_map(bring).collect();
            if let Some(told) = told {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = moves;
            }
            Ok(Batch::new(runs))
        }
        .boxed()
    })
}

/// Takes over, with what these streams have in between, and expects it to be done.
pub(super) async fn takes_over<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    chains: Vec<Vec<ViewCommitOf<B>>>,
) -> RuleResult {
    done(view, catch_up::<B>(chains, None)).await
}

/// The same, and gives the streams that lay behind; they are none if it was not asked for any.
async fn takes_over_telling<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    chains: Vec<Vec<ViewCommitOf<B>>>,
) -> Result<Moves<B>, Violation> {
    let told = Arc::default();
    done(view, catch_up::<B>(chains, Some(Arc::clone(&told)))).await?;
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(told)
}

async fn done<B: ViewBackend<Store: VersionedStore>>(
    view: &ViewHandle<B>,
    catch_up: CatchUp<B::Store>,
) -> RuleResult {
    match view.store().take_over(catch_up).await {
        Ok(TakeOver::Done) => serves(&[view], view.store().definition().version()).await,
        other => Err(Violation::new(format!("{} was to take over: {other:?}", view.store().definition()))),
    }
}
