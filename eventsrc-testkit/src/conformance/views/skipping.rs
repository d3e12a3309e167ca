//! Decisions to leave a commit out.

use eventsrc_core::Timestamp;
use eventsrc_core::view::{Applied, Batch, PositionChange, SkippedCommits, StreamPosition, ViewStore};

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::together;
use super::backend::ViewBackend;
use super::trial::{ViewTrial, all, move_of, named, rows_of, run, same_rows};

/// A skip moves the position over a commit and changes no rows; what follows is applied.
pub async fn a_skip_moves_over_a_commit<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2, 3, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    view.skips(&on.skip(&chain, 1)).await?;
    same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1]]))?;
    view.stands_at([(named("a"), chain[1].last())]).await?;
    view.finds_another_position(vec![run::<B>(&chain, 1..2)]).await?;
    view.applies(vec![run::<B>(&chain, 2..3)]).await?;
    same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1], &chain[2..]]))
}

/// The first commit of a stream may be skipped, and its position is shown from then on.
pub async fn the_first_commit_may_be_skipped<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [2, 1]);
    view.skips(&on.skip(&chain, 0)).await?;
    view.stands_at([(named("a"), chain[0].last())]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[1..]]))
}

/// A skip may move over several commits.
pub async fn several_commits_may_be_skipped<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1, 3, 1]);
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    let skip = SkippedCommits { change: move_of::<B>(&chain, 1..4), ..on.skip(&chain, 1) };
    view.skips(&skip).await?;
    view.has_skipped(&[&skip]).await?;
    view.applies(vec![run::<B>(&chain, 4..5)]).await?;
    same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..1], &chain[4..]]))
}

/// A skip ends the quarantine of its stream, and of no other.
pub async fn a_skip_ends_the_quarantine<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1, 1])];
    let poisons = [on.poison(&chains[0], 0), on.poison(&chains[1], 0)];
    for poison in &poisons {
        view.store().quarantine(poison).await?;
    }
    view.skips(&on.skip(&chains[0], 0)).await?;
    view.quarantines(&[&poisons[1]]).await?;
    let expected = StreamPosition { position: Some(chains[0][0].last()), quarantined: false };
    ensure_eq!(view.place("a").await?, expected, "the place of the stream that was skipped");
    view.applies(vec![run::<B>(&chains[0], 1..2)]).await
}

/// A skip from another position than the stream's is `false`, and changes nothing: no position, no quarantine, no record.
pub async fn a_skip_from_elsewhere_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (chain, new) = (on.chain("a", [1, 2, 1, 1]), on.chain("b", [1, 1]));
    view.applies(vec![run::<B>(&chain, 0..2)]).await?;
    let poison = on.poison(&chain, 2);
    view.store().quarantine(&poison).await?;
    for handle in [view, on.open().await] {
        for index in [0, 1, 3] {
            handle.skips_nothing(&on.skip(&chain, index)).await?;
        }
        handle.skips_nothing(&on.skip(&new, 1)).await?;
        handle.holds(&[&chain[..2]]).await?;
        handle.quarantines(&[&poison]).await?;
        handle.has_skipped(&[]).await?;
    }
    Ok(())
}

/// A decision that is carried out again is `false`, and recorded once.
pub async fn a_skip_is_carried_out_once<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    let skip = on.skip(&chain, 0);
    view.skips(&skip).await?;
    view.skips_nothing(&skip).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.skips_nothing(&skip).await?;
    view.has_skipped(&[&skip]).await
}

/// Of racing decisions and batches on one position, one comes true.
pub async fn of_racing_skips_and_batches_one_comes_true<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
        for (task, answer) in together(tasks.collect::<Vec<_>>()).await?.into_iter().enumerate() {
            match answer? {
                Applied::Done if task < 2 => skipped += 1,
                Applied::Done => applied += 1,
                Applied::PositionDiffers => {}
                other => return Err(Violation::new(format!("task {task} came to {other:?}"))),
            }
        }
        ensure_eq!(skipped + applied, 1, "calls that were carried out");
        let stream = named(&*key);
        let recorded = handles[0].store().skipped().await?;
        let recorded = recorded.iter().filter(|skip| skip.change.stream == stream).count();
        ensure_eq!(recorded, skipped, "decisions recorded");
        ensure_eq!(
            handles[0].rows().await?.contains_key(stream.as_str()),
            applied == 1,
            "whether there is a row"
        );
        ensure_eq!(handles[1].position(&*key).await?, Some(chain[0].last()), "the position");
    }
    Ok(())
}

/// A reader beside a skip sees the stream before it in quarantine, or after it out of quarantine.
pub async fn a_skip_is_one_transaction<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    const COMMITS: usize = 25;
    let (view, reader) = (on.open().await, on.open().await);
    let chain = on.chain("a", [1; COMMITS]);
    // Even commits are in quarantine before they are skipped.
    view.store().quarantine(&on.poison(&chain, 0)).await?;
    let steps: Vec<_> = (0..COMMITS).map(|at| (on.poison(&chain, at), on.skip(&chain, at))).collect();
    let decides = tokio::spawn(async move {
        for (at, (poison, skip)) in steps.iter().enumerate() {
            if at % 2 == 0 && at > 0 {
                view.store().quarantine(poison).await?;
            }
            view.skips(skip).await?;
            // Never in step with the reader.
            for _ in 0..=at % 3 {
                tokio::task::yield_now().await;
            }
        }
        Ok::<_, Violation>(())
    });
    loop {
        let ended = decides.is_finished();
        let recorded = reader.store().skipped().await?.len();
        let place = reader.place("a").await?;
        let position = place
            .position
            .map_or(0, |position| chain.iter().take_while(|commit| commit.last() <= position).count());
        let since = reader.store().skipped().await?.len();
        // Each commit has a decision, and the place was read between two counts of them.
        let in_between = recorded <= position && position <= since;
        ensure!(in_between, "position {position} lies between {recorded} and then {since} decisions");
        ensure!(!place.quarantined || position % 2 == 0, "the quarantine is at {position}, behind the skip");
        if ended {
            ensure_eq!((recorded, position), (COMMITS, COMMITS), "decisions and commits in the end");
            break;
        }
        tokio::task::yield_now().await;
    }
    decides.await.map_err(|panic| Violation::new(panic.to_string()))?
}

/// Decisions come back as they were recorded: the move, the reason and the time.
pub async fn decisions_come_back_as_they_were_recorded<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
    let far =
        PositionChange { stream: named("z"), from: None, to: super::super::trial::sequence(i64::MAX as u64) };
    decided.push(SkippedCommits { change: far, ..decided[0].clone() });
    view.skips(&decided[4]).await?;
    view.has_skipped(&decided.iter().collect::<Vec<_>>()).await
}

/// All decisions are listed, by stream and by sequence, whenever they were made and whatever was applied in between.
pub async fn decisions_are_sorted_by_stream_and_sequence<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
