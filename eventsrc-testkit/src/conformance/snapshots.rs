//! Keeping and finding snapshots.

use eventsrc_core::snapshot::SnapshotAt::Before;
use eventsrc_core::snapshot::SnapshotAt::Earliest;
use eventsrc_core::snapshot::SnapshotAt::Latest;
use eventsrc_core::snapshot::SnapshotMode;
use eventsrc_core::stream::Zone;
use eventsrc_core::{Head, Sequence, Timestamp};

use super::backend::SnapshotBackend;
use super::report::{RuleResult, Violation};
use super::sample::{Sample, SampleKey};
use super::snapshot_trial::{SnapshotSequenceOf, SnapshotTrial, at, of};
use super::trial::sequence;

/// A snapshot is not found under another version of the fold, newer or older.
pub async fn versions_are_apart<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.put("a", 2, &at::<B>(5), SnapshotMode::Cache).await?;
    for version in [0, 1, 3, 20, u32::MAX] {
        storage.gives_version("a", version, Latest, None).await?;
    }
    storage.gives_version("a", 2, Latest, Some(&at::<B>(5))).await
}

/// Each version has its own cached snapshot and its own epochs.
pub async fn each_version_has_its_own_snapshots<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for version in [1, 2, u32::MAX] {
        let number = u64::from(version % 1_000) + 10;
        storage.put("a", version, &at::<B>(number), SnapshotMode::Cache).await?;
        storage.put("a", version, &at::<B>(number - 5), SnapshotMode::Epoch).await?;
    }
    for version in [1, 2, u32::MAX] {
        let number = u64::from(version % 1_000) + 10;
        storage.gives_version("a", version, Latest, Some(&at::<B>(number))).await?;
        storage.gives_version("a", version, Earliest, Some(&at::<B>(number - 5))).await?;
    }
    Ok(())
}

/// Keys are independent, whatever their names share.
pub async fn keys_are_apart<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    apart(on, [("a", "b"), ("a", "c"), ("ab", "c"), ("a", "bc"), ("a", "b/c"), ("a#b", "c"), ("a", "b#c")])
        .await
}

/// Keys that differ in case or in spaces are independent.
pub async fn keys_that_differ_in_case_or_spaces_are_apart<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    apart(on, [("a", "b"), ("a", "B"), ("A", "b"), ("a", "b "), ("a", " b"), ("a", "1"), ("a", "01")]).await
}

/// Keys of all scripts, with quotes and wildcards, are independent.
pub async fn unicode_keys_are_apart<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    apart(
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

/// Very long keys that differ at their end are independent.
pub async fn long_keys_are_apart<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let ids = ["a", "b", ""].map(|end| format!("{}{end}", "x".repeat(999)));
    apart(on, ids.iter().map(|id| ("a", id.as_str()))).await
}

/// Storages of different names that share a place are independent.
pub async fn names_are_apart<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let names = ["users", "Users", "users ", "user", "groups", "users/1", "🙂"];
    for (number, name) in (1..).zip(names) {
        let storage = on.open_named(name).await;
        storage.gives("a", Latest, None).await?;
        storage.caches("a", &at::<B>(number)).await?;
    }
    for (number, name) in (1..).zip(names) {
        on.open_named(name).await.gives("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// `Latest` is the greatest of all, whichever was put last and in whichever mode.
pub async fn latest_is_the_greatest<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [3, 9, 100, 20] {
        storage.keeps("a", &at::<B>(number)).await?;
    }
    storage.gives("a", Latest, Some(&at::<B>(100))).await?;
    storage.caches("a", &at::<B>(50)).await?;
    storage.gives("a", Latest, Some(&at::<B>(100))).await?;
    storage.caches("a", &at::<B>(101)).await?;
    storage.gives("a", Latest, Some(&at::<B>(101))).await
}

/// `Earliest` is the least of all, whichever was put first and in whichever mode.
pub async fn earliest_is_the_least<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [20, 100, 9, 30] {
        storage.keeps("a", &at::<B>(number)).await?;
    }
    storage.gives("a", Earliest, Some(&at::<B>(9))).await?;
    storage.caches("a", &at::<B>(8)).await?;
    storage.gives("a", Earliest, Some(&at::<B>(8))).await
}

/// `Before` a sequence is the greatest that is less.
pub async fn before_is_the_greatest_that_is_less<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [4, 9, 30, 100] {
        storage.keeps("a", &at::<B>(number)).await?;
    }
    for (limit, expected) in
        [(5, 4), (10, 9), (29, 9), (31, 30), (99, 30), (101, 100), (i64::MAX as u64, 100)]
    {
        storage.gives("a", Before(sequence(limit)), Some(&at::<B>(expected))).await?;
    }
    Ok(())
}

/// `Before` the sequence of a snapshot is not that one.
pub async fn before_a_sequence_is_not_the_one_at_it<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.gives("a", Before(sequence(9)), Some(&at::<B>(4))).await?;
    storage.gives("a", Before(sequence(4)), None).await
}

/// `Before` a sequence may be the cached one.
pub async fn before_a_sequence_may_be_the_cached_one<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &at::<B>(4)).await?;
    storage.caches("a", &at::<B>(9)).await?;
    storage.gives("a", Before(sequence(10)), Some(&at::<B>(9))).await
}

/// Sequences of several zones are in their order: by number, then by zone.
pub async fn zones_are_in_order<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let zoned = |zone| {
        let sequence =
            SnapshotSequenceOf::<B>::from_parts(7, Zone(zone)).unwrap_or(sequence(7 + u64::from(zone)));
        let mut snapshot = of::<B>(7, Some(Sample::Text(format!("zone {zone}"))));
        snapshot.head = snapshot.head.map(|head| Head { sequence, ..head });
        snapshot
    };
    for zone in [2, 300, 9] {
        storage.keeps("a", &zoned(zone)).await?;
    }
    storage.gives("a", Earliest, Some(&zoned(2))).await?;
    storage.gives("a", Latest, Some(&zoned(300))).await?;
    let limit = zoned(300).head.ok_or_else(|| Violation::new("the trial's snapshots have heads"))?.sequence;
    storage.gives("a", Before(limit), Some(&zoned(9))).await
}

/// What is not there is none: an unknown key, an unknown version, nothing before the first.
pub async fn what_is_not_there_is_none<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for which in [Earliest, Latest, Before(sequence(1)), Before(sequence(1_000))] {
        storage.gives("a", which, None).await?;
    }
    storage.keeps("b", &at::<B>(5)).await?;
    storage.gives("a", Latest, None).await?;
    storage.gives("b", Before(sequence(3)), None).await
}

/// A value comes back as it was put.
pub async fn values_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
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
        storage.keeps("epochs", &snapshot).await?;
        storage.caches("cached", &snapshot).await?;
        storage.gives("epochs", Latest, Some(&snapshot)).await?;
        storage.gives("cached", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// A deletion comes back as such: events, and no value.
pub async fn deletions_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.keeps("a", &of::<B>(4, None)).await?;
    storage.gives("a", Latest, Some(&of::<B>(4, None))).await?;
    storage.caches("a", &of::<B>(6, None)).await?;
    storage.gives("a", Latest, Some(&of::<B>(6, None))).await
}

/// A deletion replaces a value, and a value a deletion.
pub async fn a_deletion_replaces_a_value<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for snapshot in [at::<B>(4), of::<B>(5, None), at::<B>(6), of::<B>(7, None)] {
        storage.caches("a", &snapshot).await?;
        storage.gives("a", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// The sequence comes back exactly, with its zone, also a large one.
pub async fn sequences_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    for number in [1, 2, 3, 255, 65_536, u64::from(u32::MAX), (1 << 53) + 1, i64::MAX as u64] {
        storage.keeps("a", &at::<B>(number)).await?;
        storage.gives("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// The time comes back to the microsecond, also one before 1970 or of the far future.
pub async fn times_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
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
        storage.keeps("a", &snapshot).await?;
        storage.gives("a", Latest, Some(&snapshot)).await?;
    }
    Ok(())
}

/// A value of a megabyte, or as large as the backend takes, comes back.
pub async fn large_values_come_back<B: SnapshotBackend>(on: &SnapshotTrial<B>) -> RuleResult {
    let storage = on.open().await;
    let value = Sample::of_length(on.capabilities().largest_value.min(1 << 20));
    let snapshot = of::<B>(4, Some(value));
    storage.caches("a", &snapshot).await?;
    storage.gives("a", Latest, Some(&snapshot)).await?;
    storage.keeps("b", &snapshot).await?;
    storage.gives("b", Latest, Some(&snapshot)).await
}

/// What was put is there through every handle, earlier or later.
pub async fn what_was_put_is_there_through_every_handle<B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
) -> RuleResult {
    let (writer, earlier) = (on.open().await, on.open().await);
    earlier.gives("a", Latest, None).await?;
    for number in 1..5 {
        writer.caches("a", &at::<B>(number)).await?;
        earlier.gives("a", Latest, Some(&at::<B>(number))).await?;
        on.open().await.gives("a", Latest, Some(&at::<B>(number))).await?;
    }
    Ok(())
}

/// Puts an epoch and a cached snapshot under each key, by turns, and expects each to be there.
async fn apart<'a, B: SnapshotBackend>(
    on: &SnapshotTrial<B>,
    keys: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> RuleResult {
    let storage = on.open().await;
    let keys: Vec<SampleKey> = keys.into_iter().map(SampleKey::from).collect();
    for (number, key) in (1..).zip(&keys) {
        storage.gives(key, Latest, None).await?;
        storage.keeps(key, &at::<B>(number)).await?;
    }
    for (number, key) in (100..).zip(&keys) {
        storage.caches(key, &at::<B>(number)).await?;
    }
    for (number, key) in (1..).zip(&keys) {
        storage.gives(key, Earliest, Some(&at::<B>(number))).await?;
        storage.gives(key, Latest, Some(&at::<B>(number + 99))).await?;
    }
    Ok(())
}
