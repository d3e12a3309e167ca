//! Effect of a batch on the rows and positions of all its streams.

use std::collections::BTreeSet;

use eventsrc_core::view::{Applied, PositionChange, SkippedCommits, StreamPosition};
use eventsrc_core::{Sequence, StreamName};

use super::super::sample::SampleKey;
use super::super::trial::sequence;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::{BreakAndGoOn, Ignore, Text, Write, WriteTo};
use super::trial::{ViewHandle, ViewTrial, all, ensure_same_rows, named, rows_of, run, slices, stream_of};

/// A batch of one commit changes its row and its position.
pub(super) async fn a_batch_changes_rows_and_positions<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    view.holds(&[&chain]).await
}

/// A batch of several streams applies all of them.
pub(super) async fn a_batch_of_several_streams_applies_them_all<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..10).map(|stream| on.chain(&*format!("{stream}"), [2, 1])).collect();
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A batch applies many commits of a stream, each once and in order.
pub(super) async fn a_batch_applies_many_commits_of_a_stream_in_order<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", (0..200).map(|at| 1 + at % 3)), on.chain("b", [1])];
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// Batches of one stream are applied one after the other, each from the position that the last one left.
pub(super) async fn batches_continue_from_the_last_position<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 3, 1, 2, 1, 1, 4]);
    for commits in [0..1, 1..3, 3..4, 4..7] {
        view.applies(vec![run::<B>(&chain, commits.clone())]).await?;
        view.holds(&[&chain[..commits.end]]).await?;
    }
    Ok(())
}

/// A batch may apply some streams from their beginning and others from their position.
pub(super) async fn a_batch_may_mix_new_and_known_streams<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 2]), on.chain("b", [2, 1]), on.chain("c", [1, 1])];
    view.applies(vec![run::<B>(&chains[1], 0..1)]).await?;
    view.applies(vec![all::<B>(&chains[2]), run::<B>(&chains[1], 1..2), all::<B>(&chains[0])]).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// A commit of 1,000 events is applied.
pub(super) async fn a_commit_of_1000_events_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1_000, 1]);
    view.applies_each(&chain).await?;
    view.holds(&[&chain]).await
}

/// A batch of 1,000 streams applies all of them.
pub(super) async fn a_batch_of_1000_streams_applies_them_all<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..1_000).map(|stream| on.chain(&*format!("{stream}"), [1, 1])).collect();
    for commits in [0..1, 1..2] {
        view.applies(chains.iter().map(|chain| run::<B>(chain, commits.clone())).collect()).await?;
    }
    view.holds(&slices::<B>(&chains)).await
}

/// Events that the view ignores advance the position like others.
pub(super) async fn events_that_change_no_row_advance_the_position<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains = [
        on.chain_of("a", [vec![Ignore], vec![Ignore, Ignore], vec![Write]]),
        on.chain_of("b", [vec![Write, Ignore], vec![Ignore]]),
    ];
    view.applies(vec![run::<B>(&chains[0], 0..2), all::<B>(&chains[1])]).await?;
    view.holds(&[&chains[0][..2], &chains[1]]).await?;
    view.applies(vec![run::<B>(&chains[0], 2..3)]).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// Events of several streams may be written to one row.
pub(super) async fn streams_may_share_rows<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let shared = || WriteTo(vec!["shared".into(), "other".into(), "shared".into()]);
    let chains = [on.chain_of("a", [vec![shared(), Write]]), on.chain_of("b", [vec![shared(), shared()]])];
    view.applies(vec![all::<B>(&chains[0])]).await?;
    view.applies(vec![all::<B>(&chains[1])]).await?;
    view.holds(&slices::<B>(&chains)).await
}

/// Rows hold texts of every kind.
pub(super) async fn rows_have_texts_of_every_kind<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let texts = [
        "",
        " ",
        "'; DROP TABLE ledger; --",
        "$1 ?1 {} %s \\",
        "naïve\r\n\t🦀 e\u{301}",
        "\u{1}\u{7f}\u{fffd}",
    ];
    let chain = on.chain_of("a", texts.map(|text| vec![Text(text.into())]));
    view.applies(vec![all::<B>(&chain)]).await?;
    view.holds(&[&chain]).await?;
    let long = on.chain_of("b", [vec![Text("eventsrc ".repeat(120_000))]]);
    view.applies(vec![all::<B>(&long)]).await?;
    view.holds(&[&chain, &long]).await
}

/// A position is the exact sequence of the last event, with its zone and its full number.
pub(super) async fn a_position_is_the_sequence_of_the_last_event<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    const LAST: u64 = i64::MAX as u64;
    let view = on.open().await;
    let chain = on.chain("a", [1, 1, 2, 1, 1]);
    for index in 0..chain.len() {
        view.applies(vec![run::<B>(&chain, index..index + 1)]).await?;
        ensure_eq!(view.position("a").await?, Some(chain[index].last()), "the position after {index}");
    }
    for (key, number) in [("b", 1 << 31), ("c", 1 << 32), ("d", (1 << 53) + 1), ("e", LAST - 2)] {
        let change = PositionChange { stream: named(key), from: None, to: sequence(number) };
        let time = chain[0].time;
        view.skips(&SkippedCommits { change, reason: "a jump to a large number".into(), time }).await?;
        let next = on.commit(key, number + 1, [Write, Write]);
        let run = eventsrc_core::view::CommitRun {
            stream: named(key),
            from: Some(sequence(number)),
            commits: vec![next.clone()],
        };
        view.applies(vec![run]).await?;
        ensure_eq!(view.position(key).await?, Some(next.last()), "the position after {number}");
    }
    Ok(())
}

/// Streams with similar names are distinct in rows and in positions.
pub(super) async fn a_stream_with_a_similar_name_is_unaffected<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let keys: Vec<SampleKey> = [
        ("sample", "a"),
        ("other", "a"),
        ("sample", "a/a"),
        ("sample", "a "),
        ("sample", " a"),
        ("sample", "A"),
        ("sample", "é"),
        ("sample", "e\u{301}"),
        ("sample", "É"),
        ("sample", "a%"),
        ("sample", "a_"),
        ("sample", "a'"),
        ("sample", "a\""),
        ("sample", "a\\"),
        ("sample", "1"),
        ("sample", "01"),
        ("sample", "1.0"),
        ("sample", "🦀"),
        ("sample", "null"),
        ("sample", "{a}"),
        ("sample", "a,b"),
        ("sample", "\u{1}"),
        ("Sample", "a"),
        ("sam", "ple/a"),
    ]
    .map(SampleKey::from)
    .to_vec();
    let long: Vec<_> =
        ["x", "y"].map(|end| SampleKey::from(&*format!("{}{end}", "long ".repeat(100)))).to_vec();
    let mut applied = Vec::new();
    for key in keys.iter().chain(&long) {
        ensure_eq!(
            view.stream_position(key).await?,
            StreamPosition::default(),
            "the position of {key:?} before it was applied"
        );
        let chain = on.chain(key, [1 + applied.len() % 3]);
        view.applies(vec![all::<B>(&chain)]).await?;
        applied.push(chain);
    }
    view.holds(&slices::<B>(&applied)).await
}

/// The answer matches the effect, even if the view's code ignores an error: a batch that is `Done` is applied, and a
/// rejected one changes nothing.
pub(super) async fn the_answer_matches_the_effect<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [
        on.chain("a", [1]),
        on.chain_of("b", [vec![Write], vec![BreakAndGoOn], vec![Write]]),
        on.chain("c", [1]),
    ];
    let answer = view.apply(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    match answer {
        Applied::Done => view.holds(&slices::<B>(&chains)).await?,
        Applied::Rejected(_) => view.holds(&[]).await?,
        other => {
            return Err(Violation::new(format!(
                "the answer to a batch from the right position is {other:?}"
            )));
        }
    }
    let next = on.chain("d", [1]);
    view.applies(vec![all::<B>(&next)]).await?;
    ensure_eq!(view.position("d").await?, Some(next[0].last()), "the position of the stream after it");
    Ok(())
}

/// An empty batch is `Done` and changes nothing.
pub(super) async fn an_empty_batch_changes_nothing<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    view.applies(Vec::new()).await?;
    view.holds(&[]).await?;
    let chain = on.chain("a", [2]);
    view.applies(vec![all::<B>(&chain)]).await?;
    view.applies(Vec::new()).await?;
    view.holds(&[&chain]).await
}

/// A reader that runs concurrently with a worker sees only complete batches: all streams, rows and positions of each.
pub(super) async fn a_reader_never_sees_a_part_of_a_batch<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    reads_complete_batches(on, view.clone(), view).await
}

/// A reader through another handle sees only complete batches.
pub(super) async fn a_reader_through_another_handle_never_sees_a_part_of_a_batch<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    reads_complete_batches(on, on.open().await, on.open().await).await
}

async fn reads_complete_batches<B: ViewBackend>(
    on: &ViewTrial<B>,
    writer: ViewHandle<B>,
    reader: ViewHandle<B>,
) -> RuleResult {
    const BATCHES: usize = 30;
    let chains: Vec<_> = ["a", "b", "c", "d"].map(|key| on.chain(key, [3; BATCHES])).to_vec();
    let streams: Vec<StreamName> = chains.iter().map(|chain| stream_of::<B>(chain)).collect();
    let worker = tokio::spawn({
        let chains = chains.clone();
        async move {
            for batch in 0..BATCHES {
                let runs = chains.iter().map(|chain| run::<B>(chain, batch..batch + 1));
                writer.applies(runs.collect()).await?;
                // Varies, so that the worker is not in step with the reader.
                for _ in 0..=batch % 3 {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, Violation>(())
        }
    });
    let mut seen = 0;
    while seen < BATCHES {
        let ended = worker.is_finished();
        let (stream_positions, rows) = reader.read(&streams).await?;
        let batches = stream_positions[0].position.map_or(0, |position| position.number() as usize / 3);
        let expected: Vec<_> = chains.iter().map(|chain| &chain[..batches]).collect();
        let positions: BTreeSet<_> =
            stream_positions.iter().map(|stream_position| stream_position.position).collect();
        let at = expected[0].last().map(|commit| commit.last());
        ensure!(
            positions == BTreeSet::from([at]),
            "a reader saw positions of different batches: {stream_positions:?}"
        );
        ensure_same_rows(&rows, &rows_of::<B>(&expected))?;
        ensure!(batches >= seen, "a reader saw {seen} batches, and then {batches}");
        seen = batches;
        ensure!(!ended || seen == BATCHES, "all batches were applied, and a reader sees {seen} of them");
        tokio::task::yield_now().await;
    }
    worker.await.map_err(|panic| Violation::new(panic.to_string()))?
}
