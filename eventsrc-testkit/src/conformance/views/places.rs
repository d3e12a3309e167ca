//! Where streams are.

use std::collections::BTreeSet;

use eventsrc_core::view::{StreamPosition, ViewStore};

use super::super::report::{RuleResult, ensure_eq};
use super::super::sample::SampleKey;
use super::applying::slices;
use super::backend::ViewBackend;
use super::sample::ViewSample::Fail;
use super::trial::{ViewTrial, all, named, rows_of, run, same_rows, stream_of};

/// A view to which nothing was applied has no positions, no rows, and nothing in quarantine.
pub async fn a_new_view_has_no_positions<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    ensure_eq!(view.place("a").await?, StreamPosition::default(), "the place of a stream in a new view");
    view.holds(&[]).await?;
    view.quarantines(&[]).await?;
    view.has_skipped(&[]).await?;
    let (places, rows) = view.read(&[named("a")]).await?;
    ensure_eq!(places, [StreamPosition::default()], "the place that a reader is given");
    same_rows(&rows, &rows_of::<B>(&[]))
}

/// Streams that were asked for, refused or elsewhere have no position for that.
pub async fn a_stream_has_no_position_before_it_is_applied<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let refused = on.chain_of("refused", [vec![Fail("refused".into())]]);
    view.rejects(vec![all::<B>(&refused)]).await?;
    let ahead = on.chain("ahead", [1, 1]);
    view.finds_another_position(vec![run::<B>(&ahead, 1..2)]).await?;
    view.store().release(&named("released")).await?;
    for key in ["refused", "ahead", "released", "asked"] {
        ensure_eq!(view.place(key).await?, StreamPosition::default(), "the place of {key}");
    }
    view.holds(&[]).await
}

/// Places come in the order in which the streams were named, those without a position among the others.
pub async fn places_are_in_the_order_that_was_asked_for<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains: Vec<_> = (1..=5).map(|length| on.chain(&*format!("{length}"), [length])).collect();
    view.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    let at = |index: usize| chains.get(index).map(|chain| chain[0].last());
    for order in [[0, 1, 2, 3, 4, 9], [9, 4, 3, 2, 1, 0], [3, 9, 0, 4, 8, 1]] {
        let streams: Vec<_> = order.map(|index| named(&*format!("{}", index + 1))).to_vec();
        let found: Vec<_> =
            view.store().positions_of(&streams).await?.iter().map(|place| place.position).collect();
        ensure_eq!(found, order.map(at), "the places of {streams:?}");
        let found: Vec<_> = view.read(&streams).await?.0.iter().map(|place| place.position).collect();
        ensure_eq!(found, order.map(at), "the places of {streams:?} that a reader is given");
    }
    Ok(())
}

/// A stream that is named twice is answered twice.
pub async fn a_stream_named_twice_is_answered_twice<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [3]);
    view.applies(vec![all::<B>(&chain)]).await?;
    let streams = ["a", "b", "a", "b", "a"].map(named);
    let at = Some(chain[0].last());
    let found: Vec<_> =
        view.store().positions_of(&streams).await?.iter().map(|place| place.position).collect();
    ensure_eq!(found, [at, None, at, None, at], "the places of {streams:?}");
    Ok(())
}

/// Where nothing is asked for, the answer is an empty list, whatever the view has.
pub async fn no_streams_have_no_places<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    ensure_eq!(view.store().positions_of(&[]).await?, [], "places of no streams in a new view");
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    ensure_eq!(view.store().positions_of(&[]).await?, [], "places of no streams");
    ensure_eq!(view.read(&[]).await?.0, [], "places of no streams that a reader is given");
    Ok(())
}

/// Any number of streams may be named at once.
pub async fn any_number_of_streams_may_be_named<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("19999", [2]);
    view.applies(vec![all::<B>(&chain)]).await?;
    // More than SQLite has parameters for.
    let streams: Vec<_> = (0..40_000).map(|stream| named(&*format!("{stream}"))).collect();
    let places = view.store().positions_of(&streams).await?;
    ensure_eq!(places.len(), streams.len(), "places of 40,000 streams");
    let found: Vec<_> = (0..).zip(&places).filter(|(_, place)| place.position.is_some()).collect();
    let expected = StreamPosition { position: Some(chain[0].last()), quarantined: false };
    ensure_eq!(found, [(19_999, &expected)], "the streams that have a position");
    Ok(())
}

/// `positions` are those of every stream that has one, by name, byte by byte.
pub async fn positions_are_sorted_by_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    // Other orders put upper case beside lower, leave out marks, or count digits as numbers.
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

/// `positions` from after each page's last name on are everything, each once, whatever the size of the pages.
pub async fn positions_page_by_page_are_everything<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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

/// `positions` from after a name that has none begin with the next that has one.
pub async fn positions_may_begin_after_any_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
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
    ensure_eq!(view.store().positions(None, 0).await?.len(), 0, "the number of positions, at most none");
    Ok(())
}

/// A stream in quarantine has the position that it had, or none.
pub async fn streams_in_quarantine_keep_their_positions<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 1]), on.chain("b", [1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    view.store().quarantine(&on.poison(&old, 1)).await?;
    view.store().quarantine(&on.poison(&new, 0)).await?;
    view.holds(&[&old[..1]]).await
}

/// Versions of a view have positions of their own, and rows, quarantines and decisions to skip.
pub async fn versions_are_apart<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let versions = [on.open_version(1).await, on.open_version(2).await, on.open_version(12).await];
    apart(on, versions).await
}

/// Views of different names have positions of their own, whatever the names share.
pub async fn views_are_apart<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    for names in [["ledger", "ledger_b", "journal"], ["ledger_c1", "ledger_c", "ledger_cc"]] {
        let views = [
            on.open_view(names[0], 1).await,
            on.open_view(names[1], 1).await,
            on.open_view(names[2], 1).await,
        ];
        apart(on, views).await?;
    }
    Ok(())
}

async fn apart<B: ViewBackend>(on: &ViewTrial<B>, views: [super::ViewHandle<B>; 3]) -> RuleResult {
    let chains = [on.chain("a", [1, 1, 1]), on.chain("b", [2, 1, 1])];
    for (at, view) in views.iter().enumerate() {
        view.holds(&[]).await?;
        view.applies(chains.iter().map(|chain| run::<B>(chain, 0..at + 1)).collect()).await?;
    }
    for (at, view) in views.iter().enumerate() {
        view.holds(&[&chains[0][..=at], &chains[1][..=at]]).await?;
    }
    let (poison, skip) = (on.poison(&chains[0], 2), on.skip(&chains[1], 2));
    views[1].store().quarantine(&poison).await?;
    views[1].skips(&skip).await?;
    for view in [&views[0], &views[2]] {
        view.quarantines(&[]).await?;
        view.has_skipped(&[]).await?;
    }
    views[1].quarantines(&[&poison]).await?;
    views[1].has_skipped(&[&skip]).await?;
    ensure_eq!(views[0].store().release(&named("a")).await?, false, "the end of another's quarantine");
    views[1].quarantines(&[&poison]).await?;
    for (at, view) in [(0, &views[0]), (2, &views[2])] {
        view.holds(&slices::<B>(&chains.each_ref().map(|chain| chain[..=at].to_vec()))).await?;
    }
    Ok(())
}
