//! Positions of streams in a view.

use std::collections::BTreeSet;

use eventsrc_core::view::{StreamPosition, ViewStore};

use super::super::sample::SampleKey;
use super::super::violation::{RuleResult, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::Fail;
use super::trial::{ViewHandle, ViewTrial, all, ensure_same_rows, named, rows_of, run, slices, stream_of};

/// A new view has no positions, no rows, and no streams in quarantine.
pub(super) async fn a_new_view_has_no_positions<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    ensure_eq!(
        view.stream_position("a").await?,
        StreamPosition::default(),
        "the position of a stream in a new view"
    );
    view.holds(&[]).await?;
    view.has_quarantined(&[]).await?;
    view.has_skipped(&[]).await?;
    let (stream_positions, rows) = view.read(&[named("a")]).await?;
    ensure_eq!(stream_positions, [StreamPosition::default()], "the position that a reader sees");
    ensure_same_rows(&rows, &rows_of::<B>(&[]))
}

/// A request, a refused batch or a release gives a stream no position.
pub(super) async fn a_stream_has_no_position_before_it_is_applied<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let refused = on.chain_of("refused", [vec![Fail("refused".into())]]);
    view.rejects(vec![all::<B>(&refused)]).await?;
    let ahead = on.chain("ahead", [1, 1]);
    view.refuses_position(vec![run::<B>(&ahead, 1..2)]).await?;
    view.store().release(&named("released")).await?;
    for key in ["refused", "ahead", "released", "requested"] {
        ensure_eq!(view.stream_position(key).await?, StreamPosition::default(), "the position of {key}");
    }
    view.holds(&[]).await
}

/// Positions are returned in the order of the requested streams, including streams without a position.
pub(super) async fn positions_are_returned_in_the_order_of_the_request<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (1..=5).map(|length| on.chain(&*format!("{length}"), [length])).collect();
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    let at = |index: usize| chains.get(index).map(|chain| chain[0].last());
    for order in [[0, 1, 2, 3, 4, 9], [9, 4, 3, 2, 1, 0], [3, 9, 0, 4, 8, 1]] {
        let streams: Vec<_> = order.map(|index| named(&*format!("{}", index + 1))).to_vec();
        let found: Vec<_> = view
            .store()
            .positions_of(&streams)
            .await?
            .iter()
            .map(|stream_position| stream_position.position)
            .collect();
        ensure_eq!(found, order.map(at), "the positions of {streams:?}");
        let found: Vec<_> =
            view.read(&streams).await?.0.iter().map(|stream_position| stream_position.position).collect();
        ensure_eq!(found, order.map(at), "the positions of {streams:?} that a reader sees");
    }
    Ok(())
}

/// A stream that is requested twice is returned twice.
pub(super) async fn a_stream_requested_twice_is_returned_twice<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [3]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let streams = ["a", "b", "a", "b", "a"].map(named);
    let at = Some(chain[0].last());
    let found: Vec<_> = view
        .store()
        .positions_of(&streams)
        .await?
        .iter()
        .map(|stream_position| stream_position.position)
        .collect();
    ensure_eq!(found, [at, None, at, None, at], "the positions of {streams:?}");
    Ok(())
}

/// A request for no streams returns an empty list, whatever the view holds.
pub(super) async fn a_request_for_no_streams_returns_an_empty_list<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    ensure_eq!(view.store().positions_of(&[]).await?, [], "the positions of no streams in a new view");
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    ensure_eq!(view.store().positions_of(&[]).await?, [], "the positions of no streams");
    ensure_eq!(view.read(&[]).await?.0, [], "the positions of no streams that a reader sees");
    Ok(())
}

/// Any number of streams may be requested at once.
pub(super) async fn any_number_of_streams_may_be_requested<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("19999", [2]);
    view.applies(vec![all::<B>(&chain)]).await?;
    // More than SQLite has parameters for.
    let streams: Vec<_> = (0..40_000).map(|stream| named(&*format!("{stream}"))).collect();
    let stream_positions = view.store().positions_of(&streams).await?;
    ensure_eq!(stream_positions.len(), streams.len(), "the number of positions of 40,000 streams");
    let found: Vec<_> = (0..)
        .zip(&stream_positions)
        .filter(|(_, stream_position)| stream_position.position.is_some())
        .collect();
    let expected = StreamPosition { position: Some(chain[0].last()), quarantined: false };
    ensure_eq!(found, [(19_999, &expected)], "the streams that have a position");
    Ok(())
}

/// `positions` returns every stream that has a position, sorted by name in byte order.
pub(super) async fn positions_are_sorted_by_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    // Other orders sort upper case next to lower case, ignore marks, or compare digits as numbers.
    let ids = [
        "b", "B", "a", "é", "e", "f", "E", "a-b", "a b", "ab", "a_b", "10", "9", "1", "-1", "🦀", "\u{ffee}",
        "z", "~",
    ];
    let keys: Vec<SampleKey> = ids
        .iter()
        .map(|id| SampleKey::from(*id))
        .chain([
            ("other", "a").into(),
            ("sample-a", "a").into(),
            ("sample0", "a").into(),
            ("Sample", "a").into(),
        ])
        .collect();
    let chains: Vec<_> = keys.iter().map(|key| on.chain(key, [1, 1])).collect();
    for chain in &chains {
        view.applies(vec![all::<B>(chain)]).await?;
    }
    let expected: BTreeSet<_> = chains.iter().map(|chain| (stream_of::<B>(chain), chain[1].last())).collect();
    ensure_eq!(view.positions().await?, expected.into_iter().collect::<Vec<_>>(), "the positions");
    Ok(())
}

/// Pages of `positions`, each from the last name of the previous one, are complete and without repetitions, whatever
/// their size.
pub(super) async fn pages_of_positions_are_complete<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (0..50).map(|stream| on.chain(&*format!("{}", stream * 7 % 50), [1])).collect();
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    let everything = view.positions().await?;
    ensure_eq!(everything.len(), chains.len(), "the number of positions");
    for size in [1, 7, 25, 50, 51] {
        let mut found: Vec<(eventsrc_core::StreamName, _)> = Vec::new();
        loop {
            let after = found.last().map(|(stream, _)| stream.clone());
            let page = view.store().positions(after.as_ref(), size).await?;
            let left = everything.len() - found.len();
            ensure_eq!(page.len(), left.min(size), "the size of a page of at most {size}, with {left} left");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        ensure_eq!(found, everything, "the positions in pages of {size}");
    }
    Ok(())
}

/// If the given name has no position, `positions` begins with the next stream that has one.
pub(super) async fn positions_may_begin_after_any_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = ["b", "d", "f"].map(|key| on.chain(key, [1])).to_vec();
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    for (after, expected) in [("a", 0), ("b", 1), ("b ", 1), ("c", 1), ("d", 2), ("e", 2), ("f", 3), ("g", 3)]
    {
        let found = view.store().positions(Some(&named(after)), 10).await?;
        let found: Vec<_> = found.into_iter().map(|(stream, _)| stream).collect();
        let expected: Vec<_> = chains[expected..].iter().map(|chain| stream_of::<B>(chain)).collect();
        ensure_eq!(found, expected, "the streams that have a position after {after}");
    }
    ensure_eq!(view.store().positions(None, 0).await?.len(), 0, "the number of positions with a limit of 0");
    Ok(())
}

/// A stream in quarantine keeps its position, or has none as before.
pub(super) async fn streams_in_quarantine_keep_their_positions<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 1]), on.chain("b", [1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    view.store().quarantine(&on.quarantined_commit(&old, 1)).await?;
    view.store().quarantine(&on.quarantined_commit(&new, 0)).await?;
    view.holds(&[&old[..1]]).await
}

/// Versions of a view have separate positions, rows, quarantines and skips.
pub(super) async fn versions_are_distinct<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let versions = [on.open_version(1).await, on.open_version(2).await, on.open_version(12).await];
    ensure_distinct(on, versions).await
}

/// Views of different names have separate positions, whatever the names have in common.
pub(super) async fn views_are_distinct<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    for names in [["ledger", "ledger_b", "journal"], ["ledger_c1", "ledger_c", "ledger_cc"]] {
        let views = [
            on.open_view(names[0], 1).await,
            on.open_view(names[1], 1).await,
            on.open_view(names[2], 1).await,
        ];
        ensure_distinct(on, views).await?;
    }
    Ok(())
}

async fn ensure_distinct<B: ViewBackend>(on: &ViewTrial<B>, views: [ViewHandle<B>; 3]) -> RuleResult {
    let chains = [on.chain("a", [1, 1, 1]), on.chain("b", [2, 1, 1])];
    for (at, view) in views.iter().enumerate() {
        view.holds(&[]).await?;
        view.applies(chains.iter().map(|chain| run::<B>(chain, 0..at + 1)).collect()).await?;
    }
    for (at, view) in views.iter().enumerate() {
        view.holds(&[&chains[0][..=at], &chains[1][..=at]]).await?;
    }
    let (entry, skip) = (on.quarantined_commit(&chains[0], 2), on.skip(&chains[1], 2));
    views[1].store().quarantine(&entry).await?;
    views[1].skips(&skip).await?;
    for view in [&views[0], &views[2]] {
        view.has_quarantined(&[]).await?;
        view.has_skipped(&[]).await?;
    }
    views[1].has_quarantined(&[&entry]).await?;
    views[1].has_skipped(&[&skip]).await?;
    ensure_eq!(
        views[0].store().release(&named("a")).await?,
        false,
        "the release of a stream that another version holds in quarantine"
    );
    views[1].has_quarantined(&[&entry]).await?;
    for (at, view) in [(0, &views[0]), (2, &views[2])] {
        view.holds(&slices::<B>(&chains.each_ref().map(|chain| chain[..=at].to_vec()))).await?;
    }
    Ok(())
}
