//! Decisions to skip commits.

use eventsrc_core::Timestamp;
use eventsrc_core::view::{Applied, Batch, PositionChange, SkippedCommits, StreamPosition, ViewStore};

use super::super::trial::{run_concurrently, sequence};
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::trial::{ViewTrial, all, change_of, ensure_same_rows, named, rows_of, run};

/// A skip moves the position past a commit and changes no rows. The next commit can be applied.
pub(super) async fn a_skip_moves_the_position_past_a_commit<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2, 3, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    view.skips(&on.skip(&chain, 1)).await?;
    ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1]]))?;
    view.has_positions([(named("a"), chain[1].last())]).await?;
    view.refuses_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.applies(vec![run::<B>(&chain, 2..3)]).await?;
    ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1], &chain[2..]]))
}

/// The first commit of a stream may be skipped, and the stream has a position afterwards.
pub(super) async fn the_first_commit_may_be_skipped<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2, 1]);
    view.skips(&on.skip(&chain, 0)).await?;
    view.has_positions([(named("a"), chain[0].last())]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[1..]]))
}

/// One skip may cover several commits.
pub(super) async fn several_commits_may_be_skipped<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    let skip = SkippedCommits { change: change_of::<B>(&chain, 1..4), ..on.skip(&chain, 1) };
    view.skips(&skip).await?;
    view.has_skipped(&[&skip]).await?;
    view.applies(vec![run::<B>(&chain, 4..5)]).await?;
    ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1], &chain[4..]]))
}

/// A skip ends the quarantine of its stream and of no other.
pub(super) async fn a_skip_ends_the_quarantine<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1, 1])];
    let entries = [on.quarantined_commit(&chains[0], 0), on.quarantined_commit(&chains[1], 0)];
    for entry in &entries {
        view.store().quarantine(entry).await?;
    }
    view.skips(&on.skip(&chains[0], 0)).await?;
    view.has_quarantined(&[&entries[1]]).await?;
    let expected = StreamPosition { position: Some(chains[0][0].last()), quarantined: false };
    ensure_eq!(view.stream_position("a").await?, expected, "the position of the skipped stream");
    view.applies(vec![run::<B>(&chains[0], 1..2)]).await
}

/// A skip from another position than the stream's returns `false`, and changes no position, no quarantine and no
/// record.
pub(super) async fn a_skip_from_another_position_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (chain, new) = (on.chain("a", [1, 2, 1, 1]), on.chain("b", [1, 1]));
    view.applies(vec![run::<B>(&chain, 0..2)]).await?;
    let entry = on.quarantined_commit(&chain, 2);
    view.store().quarantine(&entry).await?;
    for handle in [view, on.open().await] {
        for index in [0, 1, 3] {
            handle.refuses_skip(&on.skip(&chain, index)).await?;
        }
        handle.refuses_skip(&on.skip(&new, 1)).await?;
        handle.holds(&[&chain[..2]]).await?;
        handle.has_quarantined(&[&entry]).await?;
        handle.has_skipped(&[]).await?;
    }
    Ok(())
}

/// A repeated skip returns `false`, and is recorded once.
pub(super) async fn a_repeated_skip_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    let skip = on.skip(&chain, 0);
    view.skips(&skip).await?;
    view.refuses_skip(&skip).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.refuses_skip(&skip).await?;
    view.has_skipped(&[&skip]).await
}

/// Of racing skips and batches from one position, exactly one succeeds.
pub(super) async fn of_racing_skips_and_batches_one_succeeds<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..20 {
        let key = format!("round {round}");
        let chain = on.chain(&*key, [1, 1]);
        let tasks = (0..4).map(|task| {
            let (view, skip) = (handles[task % 2].clone(), on.skip(&chain, 0));
            let batch = Batch::new(vec![run::<B>(&chain, 0..1)]);
            async move {
                if task < 2 {
                    let done = view.store().skip(&skip).await?;
                    return Ok(if done { Applied::Done } else { Applied::PositionDiffers });
                }
                view.store().apply(&batch).await
            }
        });
        let (mut skipped, mut applied) = (0, 0);
        for (task, answer) in run_concurrently(tasks.collect::<Vec<_>>()).await?.into_iter().enumerate() {
            match answer? {
                Applied::Done if task < 2 => skipped += 1,
                Applied::Done => applied += 1,
                Applied::PositionDiffers => {}
                other => return Err(Violation::new(format!("the answer to task {task} is {other:?}"))),
            }
        }
        ensure_eq!(skipped + applied, 1, "calls that succeeded");
        let stream = named(&*key);
        let recorded = handles[0].store().skipped().await?;
        let recorded = recorded.iter().filter(|skip| skip.change.stream == stream).count();
        ensure_eq!(recorded, skipped, "recorded skips");
        ensure_eq!(
            handles[0].rows().await?.contains_key(stream.as_str()),
            applied == 1,
            "the existence of the row"
        );
        ensure_eq!(handles[1].position(&*key).await?, Some(chain[0].last()), "the position");
    }
    Ok(())
}

/// A reader that runs concurrently with a skip sees the stream either before it and in quarantine, or after it and
/// released.
pub(super) async fn a_skip_is_one_transaction<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    const COMMITS: usize = 25;
    let (view, reader) = (on.open().await, on.open().await);
    let chain = on.chain("a", [1; COMMITS]);
    // Even commits are in quarantine before they are skipped.
    view.store().quarantine(&on.quarantined_commit(&chain, 0)).await?;
    let steps: Vec<_> =
        (0..COMMITS).map(|at| (on.quarantined_commit(&chain, at), on.skip(&chain, at))).collect();
    let decides = tokio::spawn(async move {
        for (at, (entry, skip)) in steps.iter().enumerate() {
            if at % 2 == 0 && at > 0 {
                view.store().quarantine(entry).await?;
            }
            view.skips(skip).await?;
            // Varies, so that the task is not in step with the reader.
            for _ in 0..=at % 3 {
                tokio::task::yield_now().await;
            }
        }
        Ok::<_, Violation>(())
    });
    loop {
        let ended = decides.is_finished();
        let recorded = reader.store().skipped().await?.len();
        let stream_position = reader.stream_position("a").await?;
        let position = stream_position
            .position
            .map_or(0, |position| chain.iter().take_while(|commit| commit.last() <= position).count());
        let since = reader.store().skipped().await?.len();
        // Each commit is skipped, and the position was read between two counts of the skips.
        let in_between = recorded <= position && position <= since;
        ensure!(
            in_between,
            "position {position} is not between {recorded} and {since}, the recorded skips before and after"
        );
        ensure!(
            !stream_position.quarantined || position % 2 == 0,
            "the quarantine at {position} outlasts the skip"
        );
        if ended {
            ensure_eq!((recorded, position), (COMMITS, COMMITS), "skips and commits at the end");
            break;
        }
        tokio::task::yield_now().await;
    }
    decides.await.map_err(|panic| Violation::new(panic.to_string()))?
}

/// Skips come back as recorded: change, reason and time.
pub(super) async fn skips_come_back_as_recorded<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let long = "for the record, ".repeat(2_000);
    let reasons = ["", "Ada: \"it is a test\nof two lines\" 'quoted' \\ $1", "naïve 🦀", &long];
    let chain = on.chain("a", [2; 4]);
    let mut decided = Vec::new();
    for (at, reason) in reasons.into_iter().enumerate() {
        let time = Timestamp::from_microsecond(-62_000_000_000_000_001 + at as i64 * 60_000_000_000_000_003);
        let time = time.expect("the time is in range");
        decided.push(SkippedCommits { reason: reason.into(), time, ..on.skip(&chain, at) });
    }
    for skip in &decided {
        view.skips(skip).await?;
    }
    let far = PositionChange { stream: named("z"), from: None, to: sequence(i64::MAX as u64) };
    decided.push(SkippedCommits { change: far, ..decided[0].clone() });
    view.skips(&decided[4]).await?;
    view.has_skipped(&decided.iter().collect::<Vec<_>>()).await
}

/// All skips are listed by stream and by sequence, whatever their order in time and whatever was applied in between.
pub(super) async fn skips_are_sorted_by_stream_and_sequence<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("b", [1; 12]), on.chain("B", [1; 12]), on.chain("a", [1; 12])];
    let mut decided = Vec::new();
    for index in 0..12 {
        for chain in &chains {
            if index % 3 == 0 {
                view.applies(vec![run::<B>(chain, index..index + 1)]).await?;
            } else {
                let skip = on.skip(chain, index);
                view.skips(&skip).await?;
                decided.push(skip);
            }
        }
    }
    let sound = on.chain("c", [1]);
    view.applies(vec![all::<B>(&sound)]).await?;
    decided.sort_by(|a, b| (&a.change.stream, a.change.to).cmp(&(&b.change.stream, b.change.to)));
    view.has_skipped(&decided.iter().collect::<Vec<_>>()).await
}
