//! Putting and getting snapshots.

use eventsrc_core::snapshot::SnapshotAt::Before;
use eventsrc_core::snapshot::SnapshotAt::Earliest;
use eventsrc_core::snapshot::SnapshotAt::Latest;
use eventsrc_core::snapshot::SnapshotMode;
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, Head, Sequence, Timestamp};
use uuid::Uuid;

use super::backend::SnapshotBackend;
use super::sample::{Sample, SampleKey};
use super::snapshot_trial::{SnapshotSequenceOf, SnapshotTrial, at, of};
use super::trial::sequence;
use super::violation::{RuleResult, Violation};

/// A snapshot is not found under another version of the fold, newer or older.
pub(super) async fn versions_are_distinct<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.put("a", 2, &at::<B>(5), SnapshotMode::Cache).await?;
    for version in [0, 1, 3, 20, u32::MAX] {
        storage.returns_version("a", version, Latest, None).await?;
    }
    storage.returns_version("a", 2, Latest, Some(&at::<B>(5))).await
}

/// Each version has its own cached snapshot and its own epochs.
pub(super) async fn each_version_has_its_own_snapshots<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for version in [1, 2, u32::MAX] {
        let number = u64::from(version % 1_000) + 10;
        storage.put("a", version, &at::<B>(number), SnapshotMode::Cache).await?;
        storage.put("a", version, &at::<B>(number - 5), SnapshotMode::Epoch).await?;
    }
    for version in [1, 2, u32::MAX] {
        let number = u64::from(version % 1_000) + 10;
        storage.returns_version("a", version, Latest, Some(&at::<B>(number))).await?;
        storage.returns_version("a", version, Earliest, Some(&at::<B>(number - 5))).await?;
    }
    Ok(())
}

/// Keys are independent, whatever their names have in common.
pub(super) async fn keys_are_distinct<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [("a", "b"), ("a", "c"), ("ab", "c"), ("a", "bc"), ("a", "b/c"), ("a#b", "c"), ("a", "b#c")],
    )
    .await
}

/// Keys that differ only in case or in spaces are independent.
pub(super) async fn keys_that_differ_in_case_or_spaces_are_distinct<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    ensure_distinct(
        on,
        [("a", "b"), ("a", "B"), ("A", "b"), ("a", "b "), ("a", " b"), ("a", "1"), ("a", "01")],
    )
    .await
}

/// Keys with letters of all scripts, quotes and wildcards are independent.
pub(super) async fn unicode_keys_are_distinct<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    ensure_distinct(
        on,
        [
            ("имя", "日本語"),
            ("🙂", "🙃"),
            ("🙂", "🙂"),
            ("a", "\u{e9}"),
            ("a", "e\u{301}"),
            ("a", "%"),
            ("a", "'\"\\"),
        ],
    )
    .await
}

/// Very long keys that differ only at the end are independent.
pub(super) async fn long_keys_are_distinct<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let ids = ["a", "b", ""].map(|end| format!("{}{end}", "x".repeat(999)));
    ensure_distinct(on, ids.iter().map(|id| ("a", id.as_str()))).await
}

/// Storages of different names at one location are independent.
pub(super) async fn names_are_distinct<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let names = ["users", "Users", "users ", "user", "groups", "users/1", "🙂"];
    for (number, name) in (1..).zip(names) {
        let storage = on.open_named(name).await;
        storage.returns("a", Latest, None).await?;
        storage.caches("a", &at::<B>(number)).await?;
    }
    for (number, name) in (1..).zip(names) {
        on.open_named(name).await.returns("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// `Latest` is the snapshot with the greatest sequence, whichever was put last and in whichever mode.
pub(super) async fn latest_is_the_greatest<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [3, 9, 100, 20] {
        storage.puts_epoch("a", &at::<B>(number)).await?;
    }
    storage.returns("a", Latest, Some(&at::<B>(100))).await?;
    storage.caches("a", &at::<B>(50)).await?;
    storage.returns("a", Latest, Some(&at::<B>(100))).await?;
    storage.caches("a", &at::<B>(101)).await?;
    storage.returns("a", Latest, Some(&at::<B>(101))).await
}

/// `Earliest` is the snapshot with the least sequence, whichever was put first and in whichever mode.
pub(super) async fn earliest_is_the_least<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [20, 100, 9, 30] {
        storage.puts_epoch("a", &at::<B>(number)).await?;
    }
    storage.returns("a", Earliest, Some(&at::<B>(9))).await?;
    storage.caches("a", &at::<B>(8)).await?;
    storage.returns("a", Earliest, Some(&at::<B>(8))).await
}

/// `Before` a sequence is the snapshot with the greatest sequence below it.
pub(super) async fn before_is_the_greatest_that_is_less<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for number in [4, 9, 30, 100] {
        storage.puts_epoch("a", &at::<B>(number)).await?;
    }
    for (limit, expected) in
        [(5, 4), (10, 9), (29, 9), (31, 30), (99, 30), (101, 100), (i64::MAX as u64, 100)]
    {
        storage.returns("a", Before(sequence(limit)), Some(&at::<B>(expected))).await?;
    }
    Ok(())
}

/// `Before` a sequence excludes the snapshot at that sequence.
pub(super) async fn before_a_sequence_excludes_the_snapshot_at_it<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.returns("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.returns("a", Before(sequence(4)), None).await
}

/// `Before` a sequence may return the cached snapshot.
pub(super) async fn before_a_sequence_includes_the_cached_one<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.returns("a", Before(sequence(10)), Some(&at::<B>(9))).await
}

/// Sequences of several zones are ordered by number, then by zone.
pub(super) async fn zones_are_in_order<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let zoned = |zone| {
        let sequence =
            SnapshotSequenceOf::<B>::from_parts(7, Zone(zone)).unwrap_or(sequence(7 + u64::from(zone)));
        let mut snapshot = of::<B>(7, Some(Sample::Text(format!("zone {zone}"))));
        snapshot.head = snapshot.head.map(|head| Head { sequence, ..head });
        snapshot
    };
    for zone in [2, 300, 9] {
        storage.puts_epoch("a", &zoned(zone)).await?;
    }
    storage.returns("a", Earliest, Some(&zoned(2))).await?;
    storage.returns("a", Latest, Some(&zoned(300))).await?;
    let limit = zoned(300).head.ok_or_else(|| Violation::new("the trial's snapshots have heads"))?.sequence;
    storage.returns("a", Before(limit), Some(&zoned(9))).await
}

/// A missing snapshot is `None`: for an unknown key, for an unknown version, and before the first one.
pub(super) async fn a_missing_snapshot_is_none<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for which in [Earliest, Latest, Before(sequence(1)), Before(sequence(1_000))] {
        storage.returns("a", which, None).await?;
    }
    storage.puts_epoch("b", &at::<B>(5)).await?;
    storage.returns("a", Latest, None).await?;
    storage.returns("b", Before(sequence(3)), None).await
}

/// A value comes back exactly as it was put.
pub(super) async fn values_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let numbers =
        Sample::Numbers { signed: i64::MIN, unsigned: u64::MAX, pairs: vec![(1, None), (2, Some(true))] };
    let text = "日本語 🙂 e\u{301} \"q\" \\ \0 \n".to_owned();
    let values = [
        Sample::Nothing,
        Sample::Text(String::new()),
        Sample::Text(text),
        Sample::Bytes((0..=255).collect()),
        numbers,
    ];
    for (number, value) in (1..).zip(values) {
        let snapshot = of::<B>(number, Some(value));
        storage.puts_epoch("epochs", &snapshot).await?;
        storage.caches("cached", &snapshot).await?;
        storage.returns("epochs", Latest, Some(&snapshot)).await?;
        storage.returns("cached", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// A deletion comes back as a snapshot without a value.
pub(super) async fn deletions_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.puts_epoch("a", &of::<B>(4, None)).await?;
    storage.returns("a", Latest, Some(&of::<B>(4, None))).await?;
    storage.caches("a", &of::<B>(6, None)).await?;
    storage.returns("a", Latest, Some(&of::<B>(6, None))).await
}

/// A deletion replaces a value, and a value a deletion.
pub(super) async fn a_deletion_replaces_a_value<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for snapshot in [at::<B>(4), of::<B>(5, None), at::<B>(6), of::<B>(7, None)] {
        storage.caches("a", &snapshot).await?;
        storage.returns("a", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// A sequence comes back exactly, with its zone, also a large one.
pub(super) async fn sequences_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [1, 2, 3, 255, 65_536, u64::from(u32::MAX), (1 << 53) + 1, i64::MAX as u64] {
        storage.puts_epoch("a", &at::<B>(number)).await?;
        storage.returns("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// The time comes back to the microsecond, also one before 1970 or of the far future.
pub(super) async fn times_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let times = [
        1_767_225_600_123_456_000,
        1_767_225_600_123_456_999,
        -1_000,
        -62_135_596_799_999_999_000,
        253_370_764_799_999_999_000,
    ];
    for (number, time) in (1..).zip(times) {
        let mut snapshot = at::<B>(number);
        let time = Timestamp::from_nanosecond(time).expect("the time is in range");
        snapshot.head = snapshot.head.map(|head| Head { time, ..head });
        storage.puts_epoch("a", &snapshot).await?;
        storage.returns("a", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// The commit id comes back, of whatever UUID version, and so does its absence.
pub(super) async fn commit_ids_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let ids = [Some(0), None, Some(1), Some(u128::MAX), None];
    for (number, id) in (1..).zip(ids) {
        let mut snapshot = at::<B>(number);
        let commit_id = id.map(|id| CommitId(Uuid::from_u128(id)));
        snapshot.head = snapshot.head.map(|head| Head { commit_id, ..head });
        storage.puts_epoch("epochs", &snapshot).await?;
        storage.caches("cached", &snapshot).await?;
        storage.returns("epochs", Latest, Some(&snapshot)).await?;
        storage.returns("cached", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// A value of a megabyte, or of the largest size that the backend accepts, comes back.
pub(super) async fn large_values_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let value = Sample::of_length(on.capabilities().largest_value.min(1 << 20));
    let snapshot = of::<B>(4, Some(value));
    storage.caches("a", &snapshot).await?;
    storage.returns("a", Latest, Some(&snapshot)).await?;
    storage.puts_epoch("b", &snapshot).await?;
    storage.returns("b", Latest, Some(&snapshot)).await
}

/// A snapshot is visible through every handle, opened before or after the put.
pub(super) async fn a_snapshot_is_visible_through_every_handle<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let (writer, earlier) = (on.open().await, on.open().await);
    earlier.returns("a", Latest, None).await?;
    for number in 1..5 {
        writer.caches("a", &at::<B>(number)).await?;
        earlier.returns("a", Latest, Some(&at::<B>(number))).await?;
        on.open().await.returns("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// Puts an epoch and a cached snapshot under each key, in turn, and expects each key to return its own.
async fn ensure_distinct<'a, B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
    keys: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> RuleResult {
    let storage = on.open().await;
    let keys: Vec<SampleKey> = keys.into_iter().map(SampleKey::from).collect();
    for (number, key) in (1..).zip(&keys) {
        storage.returns(key, Latest, None).await?;
        storage.puts_epoch(key, &at::<B>(number)).await?;
    }
    for (number, key) in (100..).zip(&keys) {
        storage.caches(key, &at::<B>(number)).await?;
    }
    for (number, key) in (1..).zip(&keys) {
        storage.returns(key, Earliest, Some(&at::<B>(number))).await?;
        storage.returns(key, Latest, Some(&at::<B>(number + 99))).await?;
    }
    Ok(())
}
