//! What is cached, what is kept for good, and what is not kept or cannot be read.

use eventsrc_core::snapshot::SnapshotAt::Before;
use eventsrc_core::snapshot::SnapshotAt::Earliest;
use eventsrc_core::snapshot::SnapshotAt::Latest;
use eventsrc_core::snapshot::SnapshotMode;
use eventsrc_core::{ErrorKind, Sequence, Snapshot};

use super::backend::SnapshotBackend;
use super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::sample::{Sample, Unreadable};
use super::snapshot_trial::{SnapshotTrial, at, inside_a_commit, of};
use super::trial::{sequence, together};

/// A cached snapshot replaces one of a lesser sequence: only one is kept.
pub async fn the_cache_keeps_one_snapshot<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [4, 9, 10, 100] {
        storage.caches("a", &at::<B>(number)).await?;
        storage.gives("a", Latest, Some(&at::<B>(number))).await?;
        storage.gives("a", Earliest, Some(&at::<B>(number))).await?;
    }
    storage.gives("a", Before(sequence(100)), None).await
}

/// A cached snapshot does not replace one of a greater sequence.
pub async fn the_cache_never_goes_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(100)).await?;
    for number in [99, 9, 1] {
        storage.caches("a", &at::<B>(number)).await?;
        storage.gives("a", Latest, Some(&at::<B>(100))).await?;
        storage.gives("a", Earliest, Some(&at::<B>(100))).await?;
    }
    Ok(())
}

/// A cached deletion is not set back to a value of a lesser sequence.
pub async fn a_cached_deletion_is_not_set_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &of::<B>(9, None)).await?;
    storage.caches("a", &at::<B>(8)).await?;
    storage.gives("a", Latest, Some(&of::<B>(9, None))).await
}

/// A cached snapshot replaces one of the same sequence: it was mended.
pub async fn the_cache_replaces_one_of_the_same_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    let mended = of::<B>(4, Some(Sample::Text("mended".into())));
    storage.caches("a", &mended).await?;
    storage.gives("a", Latest, Some(&mended)).await
}

/// The cache is judged by what is cached, not by an epoch beyond it.
pub async fn the_cache_is_apart_from_the_epochs<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(20)).await?;
    storage.caches("a", &at::<B>(10)).await?;
    storage.gives("a", Before(sequence(20)), Some(&at::<B>(10))).await?;
    storage.caches("a", &at::<B>(12)).await?;
    storage.gives("a", Before(sequence(20)), Some(&at::<B>(12))).await?;
    storage.gives("a", Earliest, Some(&at::<B>(12))).await
}

/// Epochs are kept beside all others.
pub async fn epochs_are_kept<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in (5..=200).step_by(5) {
        storage.keeps("a", &at::<B>(number)).await?;
    }
    for number in (5..=200).step_by(5) {
        storage.gives("a", Before(sequence(number + 1)), Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// An epoch put after a later one is kept as well.
pub async fn an_epoch_may_be_put_late<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(20)).await?;
    storage.keeps("a", &at::<B>(10)).await?;
    storage.gives("a", Earliest, Some(&at::<B>(10))).await?;
    storage.gives("a", Latest, Some(&at::<B>(20))).await
}

/// An epoch replaces the epoch of the same sequence.
pub async fn an_epoch_replaces_one_of_the_same_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.keeps("a", &at::<B>(9)).await?;
    for value in [Some(Sample::Text("mended".into())), None, Some(Sample::Nothing)] {
        let mended = of::<B>(4, value);
        storage.keeps("a", &mended).await?;
        storage.gives("a", Earliest, Some(&mended)).await?;
        storage.gives("a", Latest, Some(&at::<B>(9))).await?;
    }
    Ok(())
}

/// A cached snapshot never replaces an epoch, before it or beyond it.
pub async fn a_cached_snapshot_replaces_no_epoch<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.keeps("a", &at::<B>(9)).await?;
    storage.caches("a", &at::<B>(5)).await?;
    storage.caches("a", &at::<B>(12)).await?;
    storage.gives("a", Earliest, Some(&at::<B>(4))).await?;
    storage.gives("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.gives("a", Before(sequence(12)), Some(&at::<B>(9))).await
}

/// An epoch of the sequence that a cached one has is still there when the cache has gone on.
pub async fn an_epoch_outlives_a_cached_one_of_its_sequence<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.gives("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.keeps("b", &at::<B>(4)).await?;
    storage.caches("b", &at::<B>(4)).await?;
    storage.caches("b", &at::<B>(9)).await?;
    storage.gives("b", Before(sequence(9)), Some(&at::<B>(4))).await
}

/// An epoch never replaces a cached snapshot of another sequence.
pub async fn an_epoch_replaces_no_cached_snapshot<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(9)).await?;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.gives("a", Latest, Some(&at::<B>(9))).await?;
    storage.keeps("a", &at::<B>(12)).await?;
    storage.gives("a", Before(sequence(12)), Some(&at::<B>(9))).await
}

/// Putting a snapshot of no event does nothing, in either mode.
pub async fn a_snapshot_of_no_event_is_not_kept<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        for value in [None, Some(Sample::Nothing)] {
            storage.put("a", 1, &Snapshot::initial(value), mode).await?;
            storage.gives("a", Latest, None).await?;
            storage.gives("a", Earliest, None).await?;
        }
    }
    Ok(())
}

/// Putting a snapshot of no event replaces nothing.
pub async fn a_snapshot_of_no_event_replaces_nothing<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &Snapshot::initial(Some(Sample::Nothing)), mode).await?;
    }
    storage.gives("a", Earliest, Some(&at::<B>(4))).await?;
    storage.gives("a", Latest, Some(&at::<B>(9))).await
}

/// A snapshot inside a commit is not kept: what is folded after it would miss the rest of the commit.
pub async fn a_snapshot_inside_a_commit_is_not_kept<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &at::<B>(4)).await?;
    let inside = inside_a_commit::<B>().await?;
    ensure!(inside.is_inside_commit(), "{inside:?} lies inside a commit");
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &inside, mode).await?;
        storage.gives("a", Latest, Some(&at::<B>(4))).await?;
    }
    Ok(())
}

/// A snapshot that cannot be read is an error of kind `Corrupt`.
pub async fn an_unreadable_snapshot_is_a_corrupt_error<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for mode in [SnapshotMode::Cache, SnapshotMode::Epoch] {
        storage.put("a", 1, &of::<B>(4, Some(Sample::Unreadable(Unreadable))), mode).await?;
        let Err(error) = storage.get("a", 1, Latest).await else {
            return Err(Violation::new("an unreadable snapshot was left out in silence"));
        };
        ensure_eq!(error.kind(), ErrorKind::Corrupt, "the kind of {error:?}");
    }
    Ok(())
}

/// A snapshot that cannot be read does not stop others from being put and read.
pub async fn an_unreadable_snapshot_stops_no_other<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.caches("a", &of::<B>(4, Some(Sample::Unreadable(Unreadable)))).await?;
    storage.keeps("a", &at::<B>(2)).await?;
    storage.gives("a", Earliest, Some(&at::<B>(2))).await?;
    storage.gives("b", Latest, None).await?;
    storage.caches("a", &at::<B>(6)).await?;
    storage.gives("a", Latest, Some(&at::<B>(6))).await
}

/// Of many that cache at once the greatest is kept, whoever came last.
pub async fn the_greatest_of_many_cached_at_once_is_kept<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    // In an order that goes up and down.
    let puts = (1..=64u64).map(|turn| {
        let (storage, number) = (storage.clone(), 1 + turn * 37 % 64);
        async move { storage.caches("a", &at::<B>(number)).await }
    });
    together(puts).await?.into_iter().collect::<RuleResult>()?;
    storage.gives("a", Latest, Some(&at::<B>(64))).await?;
    storage.gives("a", Earliest, Some(&at::<B>(64))).await
}

/// Epochs put at once, through several handles, are all kept.
pub async fn epochs_put_at_once_are_all_kept<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let mut puts = Vec::new();
    for number in 1..=40u64 {
        let storage = on.open().await;
        puts.push(async move { storage.keeps("a", &at::<B>(number)).await });
    }
    together(puts).await?.into_iter().collect::<RuleResult>()?;
    let storage = on.open().await;
    for number in 1..=40 {
        storage.gives("a", Before(sequence(number + 1)), Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// A reader beside writers sees whole snapshots that never go back.
pub async fn a_reader_beside_a_writer_never_goes_back<B: SnapshotBackend>(
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
        ensure!(!ended || seen == 60, "all were put, and the latest is {seen}");
        tokio::task::yield_now().await;
    }
    writer.await.map_err(|panic| Violation::new(panic.to_string()))?
}
