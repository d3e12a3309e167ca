//! Cached snapshots, epochs, and snapshots that are not stored or cannot be read.

use eventsrc_core::snapshot::SnapshotAt::Before;
use eventsrc_core::snapshot::SnapshotAt::Earliest;
use eventsrc_core::snapshot::SnapshotAt::Latest;
use eventsrc_core::snapshot::SnapshotMode;
use eventsrc_core::{ErrorKind, Sequence, Snapshot};

use super::backend::SnapshotBackend;
use super::sample::{Sample, Unreadable};
use super::snapshot_trial::{SnapshotTrial, at, inside_a_commit, of};
use super::trial::{run_concurrently, sequence};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A cached snapshot replaces one of a lesser sequence, so the cache keeps only one.
pub(super) async fn the_cache_keeps_one_snapshot<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [4, 9, 10, 100] {
        storage.caches("a", &at::<B>(number)).await?;
        storage.returns("a", Latest, Some(&at::<B>(number))).await?;
        storage.returns("a", Earliest, Some(&at::<B>(number))).await?;
    }
    storage.returns("a", Before(sequence(100)), None).await
}

/// A cached snapshot does not replace one of a greater sequence.
pub(super) async fn the_cache_never_goes_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(100)).await?;
    for number in [99, 9, 1] {
        storage.caches("a", &at::<B>(number)).await?;
        storage.returns("a", Latest, Some(&at::<B>(100))).await?;
        storage.returns("a", Earliest, Some(&at::<B>(100))).await?;
    }
    Ok(())
}

/// A value of a lesser sequence does not replace a cached deletion.
pub(super) async fn an_older_value_does_not_replace_a_cached_deletion<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &of::<B>(9, None)).await?;
    storage.caches("a", &at::<B>(8)).await?;
    storage.returns("a", Latest, Some(&of::<B>(9, None))).await
}

/// A cached snapshot replaces one of the same sequence, so that it can be corrected.
pub(super) async fn the_cache_replaces_one_of_the_same_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    let corrected = of::<B>(4, Some(Sample::Text("corrected".into())));
    storage.caches("a", &corrected).await?;
    storage.returns("a", Latest, Some(&corrected)).await
}

/// The sequence of a later epoch does not affect the cache.
pub(super) async fn the_cache_is_independent_of_epochs<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(20)).await?;
    storage.caches("a", &at::<B>(10)).await?;
    storage.returns("a", Before(sequence(20)), Some(&at::<B>(10))).await?;
    storage.caches("a", &at::<B>(12)).await?;
    storage.returns("a", Before(sequence(20)), Some(&at::<B>(12))).await?;
    storage.returns("a", Earliest, Some(&at::<B>(12))).await
}

/// An epoch is kept in addition to all other snapshots.
pub(super) async fn epochs_are_kept<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in (5..=200).step_by(5) {
        storage.puts_epoch("a", &at::<B>(number)).await?;
    }
    for number in (5..=200).step_by(5) {
        storage.returns("a", Before(sequence(number + 1)), Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// An epoch that is put after one of a greater sequence is kept as well.
pub(super) async fn an_epoch_may_be_put_out_of_order<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(20)).await?;
    storage.puts_epoch("a", &at::<B>(10)).await?;
    storage.returns("a", Earliest, Some(&at::<B>(10))).await?;
    storage.returns("a", Latest, Some(&at::<B>(20))).await
}

/// An epoch replaces the epoch of the same sequence.
pub(super) async fn an_epoch_replaces_one_of_the_same_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.puts_epoch("a", &at::<B>(9)).await?;
    for value in [Some(Sample::Text("corrected".into())), None, Some(Sample::Nothing)] {
        let corrected = of::<B>(4, value);
        storage.puts_epoch("a", &corrected).await?;
        storage.returns("a", Earliest, Some(&corrected)).await?;
        storage.returns("a", Latest, Some(&at::<B>(9))).await?;
    }
    Ok(())
}

/// A cached snapshot never replaces an epoch, of a lesser or a greater sequence.
pub(super) async fn a_cached_snapshot_replaces_no_epoch<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.puts_epoch("a", &at::<B>(9)).await?;
    storage.caches("a", &at::<B>(5)).await?;
    storage.caches("a", &at::<B>(12)).await?;
    storage.returns("a", Earliest, Some(&at::<B>(4))).await?;
    storage.returns("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.returns("a", Before(sequence(12)), Some(&at::<B>(9))).await
}

/// If an epoch and a cached snapshot have the same sequence, the epoch remains when the cache advances.
pub(super) async fn an_epoch_outlives_a_cached_one_of_its_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.returns("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.puts_epoch("b", &at::<B>(4)).await?;
    storage.caches("b", &at::<B>(4)).await?;
    storage.caches("b", &at::<B>(9)).await?;
    storage.returns("b", Before(sequence(9)), Some(&at::<B>(4))).await
}

/// An epoch never replaces a cached snapshot of another sequence.
pub(super) async fn an_epoch_replaces_no_cached_snapshot<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(9)).await?;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.returns("a", Latest, Some(&at::<B>(9))).await?;
    storage.puts_epoch("a", &at::<B>(12)).await?;
    storage.returns("a", Before(sequence(12)), Some(&at::<B>(9))).await
}

/// A put of a snapshot of no event stores nothing, in either mode.
pub(super) async fn a_snapshot_of_no_event_is_not_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        for value in [None, Some(Sample::Nothing)] {
            storage.put("a", 1, &Snapshot::initial(value), mode).await?;
            storage.returns("a", Latest, None).await?;
            storage.returns("a", Earliest, None).await?;
        }
    }
    Ok(())
}

/// A put of a snapshot of no event replaces nothing.
pub(super) async fn a_snapshot_of_no_event_replaces_nothing<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &Snapshot::initial(Some(Sample::Nothing)), mode).await?;
    }
    storage.returns("a", Earliest, Some(&at::<B>(4))).await?;
    storage.returns("a", Latest, Some(&at::<B>(9))).await
}

/// A snapshot inside a commit is not stored, because a fold that continues from it would miss the rest of the commit.
pub(super) async fn a_snapshot_inside_a_commit_is_not_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    let inside = inside_a_commit::<B>().await?;
    ensure!(inside.is_inside_commit(), "{inside:?} is not inside a commit");
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &inside, mode).await?;
        storage.returns("a", Latest, Some(&at::<B>(4))).await?;
    }
    Ok(())
}

/// A get of an unreadable snapshot is an error of kind `Corrupt`.
pub(super) async fn an_unreadable_snapshot_is_a_corrupt_error<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &of::<B>(4, Some(Sample::Unreadable(Unreadable))), mode).await?;
        let Err(error) = storage.get("a", 1, Latest).await else {
            return Err(Violation::new("a get of an unreadable snapshot is not an error"));
        };
        ensure_eq!(error.kind(), ErrorKind::Corrupt, "the kind of {error:?}");
    }
    Ok(())
}

/// An unreadable snapshot does not affect puts and gets of others.
pub(super) async fn an_unreadable_snapshot_does_not_affect_others<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &of::<B>(4, Some(Sample::Unreadable(Unreadable)))).await?;
    storage.puts_epoch("a", &at::<B>(2)).await?;
    storage.returns("a", Earliest, Some(&at::<B>(2))).await?;
    storage.returns("b", Latest, None).await?;
    storage.caches("a", &at::<B>(6)).await?;
    storage.returns("a", Latest, Some(&at::<B>(6))).await
}

/// Of concurrent puts to the cache, the one with the greatest sequence is kept, whichever is last.
pub(super) async fn concurrent_cache_puts_keep_the_greatest<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    // In an order that goes up and down.
    let puts = (1..=64u64).map(|turn| {
        let (storage, number) = (storage.clone(), 1 + turn * 37 % 64);
        async move { storage.caches("a", &at::<B>(number)).await }
    });
    run_concurrently(puts).await?.into_iter().collect::<RuleResult>()?;
    storage.returns("a", Latest, Some(&at::<B>(64))).await?;
    storage.returns("a", Earliest, Some(&at::<B>(64))).await
}

/// Epochs that are put concurrently through several handles are all kept.
pub(super) async fn concurrent_epoch_puts_are_all_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let mut puts = Vec::new();
    for number in 1..=40u64 {
        let storage = on.open().await;
        puts.push(async move { storage.puts_epoch("a", &at::<B>(number)).await });
    }
    run_concurrently(puts).await?.into_iter().collect::<RuleResult>()?;
    let storage = on.open().await;
    for number in 1..=40 {
        storage.returns("a", Before(sequence(number + 1)), Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// A reader that runs concurrently with a writer sees complete snapshots whose sequences never decrease.
pub(super) async fn a_reader_during_writes_never_goes_back<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let writer = tokio::spawn({
        let storage = storage.clone();
        async move {
            for number in 1..=60 {
                storage.caches("a", &at::<B>(number)).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Violation>(())
        }
    });
    let mut seen = 0;
    while seen < 60 {
        let ended = writer.is_finished();
        if let Some(snapshot) = storage.get("a", 1, Latest).await? {
            let number = snapshot.sequence().map_or(0, Sequence::number);
            ensure!(number >= seen, "a reader saw {seen}, and then {number}");
            ensure_eq!(snapshot, at::<B>(number), "the snapshot at {number}");
            seen = number;
        }
        ensure!(!ended || seen == 60, "all snapshots were put, and the latest is {seen}");
        tokio::task::yield_now().await;
    }
    writer.await.map_err(|panic| Violation::new(panic.to_string()))?
}
