//! Versions of a view that exist next to each other. Readers see one of them.

use eventsrc_core::view::{StreamPosition, VersionedStore, ViewStore};

use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::ViewBackend;
use super::sample::ViewSample::{Ignore, Text, Write};
use super::trial::{ViewTrial, all, ensure_same_rows, named, rows_of, run};
use super::version_trial::{refuses_to_retire, serves, shows, takes_over};

/// The first version that is opened serves at once.
pub(super) async fn the_first_version_serves_at_once<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    serves(&[&view, &on.open().await], 1).await?;
    let chain = on.chain("a", [1]);
    view.applies(vec![all::<B>(&chain)]).await?;
    shows(&view, &[&chain]).await
}

/// The first version that is opened serves, whatever its number.
pub(super) async fn the_first_version_may_have_any_number<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (view, earlier) = (on.open_version(7).await, on.open_version(3).await);
    serves(&[&view, &earlier], 7).await?;
    serves(&[&on.open_view("journal", 2).await], 2).await?;
    serves(&[&on.open_version(4).await], 7).await
}

/// A version that is opened later does not serve, however often it is opened and whatever is applied to it.
pub(super) async fn a_later_version_does_not_serve<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let versions = [on.open_version(1).await, on.open_version(2).await];
    serves(&[&versions[0], &versions[1]], 1).await?;
    let chain = on.chain("a", [1, 1]);
    versions[1].applies(vec![all::<B>(&chain)]).await?;
    versions[0].applies(vec![run::<B>(&chain, 0..1)]).await?;
    serves(&[&versions[0], &versions[1], &on.open_version(2).await, &on.open_version(1).await], 1).await
}

/// Readers through the handle of any version see the rows of the serving one.
pub(super) async fn readers_see_the_rows_of_the_serving_version<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let (chain, other) = (on.chain("a", [1, 2, 1]), on.chain("b", [1]));
    shows(&two, &[]).await?;
    one.applies(vec![run::<B>(&chain, 0..1)]).await?;
    two.applies(vec![run::<B>(&chain, 0..2), all::<B>(&other)]).await?;
    for view in [&one, &two] {
        shows(view, &[&chain[..1]]).await?;
    }
    takes_over(&two, Vec::new()).await?;
    for view in [&one, &two] {
        shows(view, &[&chain[..2], &other]).await?;
    }
    two.applies(vec![run::<B>(&chain, 2..3)]).await?;
    one.applies(vec![run::<B>(&chain, 1..2)]).await?;
    for view in [&one, &two] {
        shows(view, &[&chain, &other]).await?;
    }
    Ok(())
}

/// Readers see the positions and quarantines of the serving version.
pub(super) async fn readers_see_the_positions_of_the_serving_version<
    B: ViewBackend<Store: VersionedStore>,
>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let (chain, stopped) = (on.chain("a", [1, 1]), on.chain("b", [1]));
    two.applies(vec![all::<B>(&chain)]).await?;
    two.store().quarantine(&on.quarantined_commit(&stopped, 0)).await?;
    let streams = ["a", "b"].map(named);
    for view in [&one, &two] {
        ensure_eq!(
            view.read(&streams).await?.0,
            [StreamPosition::default(); 2],
            "the positions that a reader sees"
        );
    }
    takes_over(&two, Vec::new()).await?;
    let expected = [
        StreamPosition { position: Some(chain[1].last()), quarantined: false },
        StreamPosition { position: None, quarantined: true },
    ];
    for view in [&one, &two] {
        ensure_eq!(view.read(&streams).await?.0, expected, "the positions after the other version took over");
    }
    Ok(())
}

/// A version that has taken over serves, as every handle reports.
pub(super) async fn a_version_that_took_over_serves<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    takes_over(&two, Vec::new()).await?;
    serves(&[&one, &two, &on.open_version(1).await, &on.open_version(3).await], 2).await
}

/// The old version keeps its rows, and batches can still be applied to it.
pub(super) async fn the_old_version_is_still_maintained<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2, 1]);
    one.applies(vec![run::<B>(&chain, 0..1)]).await?;
    takes_over(&two, vec![chain.clone()]).await?;
    one.holds(&[&chain[..1]]).await?;
    two.holds(&[&chain[..1]]).await?;
    one.applies(vec![run::<B>(&chain, 1..3)]).await?;
    one.holds(&[&chain]).await?;
    two.holds(&[&chain[..1]]).await?;
    shows(&one, &[&chain[..1]]).await
}

/// Two versions can take over from each other repeatedly.
pub(super) async fn the_old_version_can_take_over_again<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let versions = [on.open_version(1).await, on.open_version(2).await];
    let chain = on.chain("a", [1; 8]);
    for index in 0..chain.len() {
        let (serving, next) = (&versions[index % 2], &versions[1 - index % 2]);
        serving.applies(vec![run::<B>(&chain, index..index + 1)]).await?;
        takes_over(next, vec![chain.clone()]).await?;
        shows(serving, &[&chain[..=index]]).await?;
        next.holds(&[&chain[..=index]]).await?;
    }
    Ok(())
}

/// A retired version is removed. If it is opened again, it is new.
pub(super) async fn a_retired_version_is_gone<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (_one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1, 1]), on.chain("c", [1])];
    two.applies(vec![all::<B>(&chains[0])]).await?;
    two.skips(&on.skip(&chains[1], 0)).await?;
    two.store().quarantine(&on.quarantined_commit(&chains[2], 0)).await?;
    two.store().retire().await?;
    drop(two);
    let two = on.open_version(2).await;
    two.holds(&[]).await?;
    two.has_quarantined(&[]).await?;
    two.has_skipped(&[]).await?;
    two.applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    two.holds(&[&chains[0], &chains[1], &chains[2]]).await?;
    takes_over(&two, Vec::new()).await
}

/// Retiring a version changes neither the other versions nor other views.
pub(super) async fn other_versions_outlive_a_retired_one<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let others = [on.open_version(1).await, on.open_version(12).await, on.open_view("journal", 2).await];
    let two = on.open_version(2).await;
    let (chain, stopped) = (on.chain("a", [1, 2, 1]), on.chain("b", [1]));
    let (entry, skip) = (on.quarantined_commit(&stopped, 0), on.skip(&chain, 2));
    for view in others.iter().chain([&two]) {
        view.applies(vec![run::<B>(&chain, 0..2)]).await?;
        view.skips(&skip).await?;
        view.store().quarantine(&entry).await?;
    }
    two.store().retire().await?;
    for view in &others {
        ensure_same_rows(&view.rows().await?, &rows_of::<B>(&[&chain[..2]]))?;
        view.has_positions([(named("a"), chain[2].last())]).await?;
        view.has_quarantined(&[&entry]).await?;
        view.has_skipped(&[&skip]).await?;
    }
    serves(&[&others[0], &others[1]], 1).await?;
    let (stream_positions, rows) = others[0].read(&[named("a"), named("b")]).await?;
    let expected = [
        StreamPosition { position: Some(chain[2].last()), quarantined: false },
        StreamPosition { position: None, quarantined: true },
    ];
    ensure_eq!(stream_positions, expected, "the positions that a reader sees");
    ensure_same_rows(&rows, &rows_of::<B>(&[&chain[..2]]))
}

/// The serving version is not retired, and nothing of it changes.
pub(super) async fn the_serving_version_is_not_retired<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2]);
    for view in [&one, &two] {
        view.applies(vec![all::<B>(&chain)]).await?;
    }
    refuses_to_retire(&one).await?;
    shows(&one, &[&chain]).await?;
    takes_over(&two, Vec::new()).await?;
    refuses_to_retire(&two).await?;
    one.store().retire().await?;
    refuses_to_retire(&two).await?;
    serves(&[&two], 2).await?;
    two.holds(&[&chain]).await?;
    shows(&two, &[&chain]).await
}

/// Equal rows have the same digest, whatever the order and the batches in which they were written, and whatever
/// ignored events were applied.
pub(super) async fn equal_rows_have_one_digest<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let chains: Vec<_> = (0..30).map(|stream| on.chain(&*format!("{stream}"), [1, 2])).collect();
    let versions = [on.open_version(1).await, on.open_version(2).await, on.open_version(3).await];
    versions[0].applies(chains.iter().map(|chain| all::<B>(chain)).collect()).await?;
    for chain in chains.iter().rev() {
        versions[1].applies_each(chain).await?;
    }
    for commits in [0..1, 1..2] {
        for stream in 0..chains.len() {
            let chain = &chains[stream * 7 % chains.len()];
            versions[2].applies(vec![run::<B>(chain, commits.clone())]).await?;
        }
    }
    let ignored = on.chain_of("ignored", [vec![Ignore]]);
    versions[2].applies(vec![all::<B>(&ignored)]).await?;
    let expected = versions[0].store().digest().await?;
    ensure_eq!(expected.rows, 30, "the number of rows in a digest");
    for view in versions.iter().chain([&on.open_version(2).await]) {
        ensure_eq!(view.store().digest().await?, expected, "the digest of equal rows");
    }
    Ok(())
}

/// Different rows have different digests, however small the difference.
pub(super) async fn other_rows_have_another_digest<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    // Each list holds the texts of the streams a, b and ab. A stream without a text has no row.
    let different: [[&[&str]; 3]; 13] = [
        [&[], &[], &[]],
        [&[""], &[], &[]],
        [&["c"], &[], &[]],
        [&["d"], &[], &[]],
        [&["c", " "], &[], &[]],
        [&["c", "c"], &[], &[]],
        [&["C"], &[], &[]],
        [&["c"], &["d"], &[]],
        [&["d"], &["c"], &[]],
        [&["c"], &["c"], &[]],
        [&[], &["c"], &[]],
        [&["bc"], &[], &[]],
        [&[], &[], &["c"]],
    ];
    let mut digests = Vec::new();
    for (version, texts) in (1..).zip(different) {
        let view = on.open_version(version).await;
        for (key, texts) in ["a", "b", "ab"].into_iter().zip(texts) {
            let chain = on.chain_of(key, texts.iter().map(|text| vec![Text((*text).into())]));
            view.applies_each(&chain).await?;
        }
        let digest = view.store().digest().await?;
        let rows = texts.iter().filter(|texts| !texts.is_empty()).count();
        ensure_eq!(digest.rows, rows as u64, "the number of rows in the digest of {texts:?}");
        if let Some((other, _)) = digests.iter().find(|(_, other)| *other == digest) {
            return Err(Violation::new(format!("{texts:?} has the digest of {other:?}")));
        }
        digests.push((texts, digest));
    }
    Ok(())
}

/// The digest covers all rows: a change of one row among 2,000 changes it.
pub(super) async fn a_digest_is_of_all_rows<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let written = |stream: u64| on.chain_of(&*format!("{stream}"), [vec![Write], vec![Write]]);
    let chains: Vec<_> = (0..2_000).map(written).collect();
    view.applies(chains.iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    let mut last = view.store().digest().await?;
    ensure_eq!(last.rows, 2_000, "the number of rows in a digest");
    for changed in [0, 999, 1_999] {
        view.applies(vec![run::<B>(&chains[changed], 1..2)]).await?;
        let digest = view.store().digest().await?;
        ensure!(digest != last, "the digest is the same after row {changed} was changed");
        ensure_eq!(digest.rows, last.rows, "the number of rows in a digest");
        last = digest;
    }
    Ok(())
}
