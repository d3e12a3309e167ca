//! Proofs of the rules about snapshots.

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode};
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, ErrorKind, Head, Sequence, Snapshot, StorageError, Timestamp};
use eventsrc_testkit::conformance::{Sample, SampleKey};

use super::S;
use super::snapshots::{Kept, Location, Sn, SnapshotDefect};

/// A rule, the description of the defect, and the defect.
pub(crate) type Proof = (&'static str, &'static str, SnapshotDefect);

pub(crate) fn proofs() -> Vec<Proof> {
    [names(), finding(), values(), modes()].concat()
}

fn names() -> Vec<Proof> {
    use SnapshotDefect::Name;
    fn each(name: &mut Location, change: impl Fn(&str) -> String) {
        let key = &name.1;
        name.1 = SampleKey { category: change(&key.category), id: change(&key.id) };
    }
    vec![
        ("versions_are_distinct", "the version is left out", Name(|name| name.2 = 0)),
        ("each_version_has_its_own_snapshots", "versions have one bit", Name(|name| name.2 %= 2)),
        (
            "keys_are_distinct",
            "category and id are put together with nothing between",
            Name(|name| name.1 = ("", &*format!("{}{}", name.1.category, name.1.id)).into()),
        ),
        (
            "keys_that_differ_in_case_or_spaces_are_distinct",
            "case is ignored",
            Name(|name| each(name, str::to_lowercase)),
        ),
        (
            "unicode_keys_are_distinct",
            "combining marks are joined to their letter",
            Name(|name| each(name, |part| part.replace("e\u{301}", "\u{e9}"))),
        ),
        (
            "long_keys_are_distinct",
            "keys are cut to 255 letters",
            Name(|name| each(name, |part| part.chars().take(255).collect())),
        ),
        ("names_are_distinct", "names are trimmed", Name(|name| name.0 = name.0.trim().into())),
    ]
}

fn finding() -> Vec<Proof> {
    use SnapshotDefect::Find;
    vec![
        (
            "latest_is_the_greatest",
            "the latest is the cached one, if there is one",
            Find(|kept, which| match (which, &kept.cached) {
                (SnapshotAt::Latest, Some(cached)) => Ok(Some(cached.clone())),
                _ => kept.find(which),
            }),
        ),
        (
            "latest_is_the_greatest",
            "sequences are compared as texts",
            Find(|kept, which| match which {
                SnapshotAt::Latest => {
                    Ok(kept.all().into_iter().max_by_key(|s| s.sequence().map(|s| s.to_string())))
                }
                which => kept.find(which),
            }),
        ),
        (
            "earliest_is_the_least",
            "the earliest is an epoch",
            Find(|kept, which| match which {
                SnapshotAt::Earliest => Ok(kept.epochs.values().next().cloned()),
                which => kept.find(which),
            }),
        ),
        (
            "before_is_the_greatest_that_is_less",
            "before a sequence is the least of all",
            Find(|kept, which| match which {
                SnapshotAt::Before(limit) => Ok(kept.epochs.range(..limit).next().map(|(_, s)| s.clone())),
                which => kept.find(which),
            }),
        ),
        (
            "before_a_sequence_excludes_the_snapshot_at_it",
            "before a sequence includes it",
            Find(|kept, which| match which {
                SnapshotAt::Before(limit) => {
                    kept.find(SnapshotAt::Before(limit.least_greater().unwrap_or(limit)))
                }
                which => kept.find(which),
            }),
        ),
        (
            "before_a_sequence_includes_the_cached_one",
            "before a sequence is an epoch",
            Find(|kept, which| match which {
                SnapshotAt::Before(limit) => {
                    Ok(kept.epochs.range(..limit).next_back().map(|(_, s)| s.clone()))
                }
                which => kept.find(which),
            }),
        ),
        (
            "zones_are_in_order",
            "a sequence is its number",
            Find(|kept, which| match which {
                SnapshotAt::Before(limit) => {
                    let all = kept.all().into_iter();
                    Ok(all
                        .filter(|s| s.sequence().map(S::number) < Some(limit.number()))
                        .max_by_key(Snapshot::sequence))
                }
                which => kept.find(which),
            }),
        ),
        (
            "a_missing_snapshot_is_none",
            "what is not there is an error",
            Find(|kept, which| match kept.find(which) {
                Ok(None) => Err(StorageError::new(ErrorKind::Invalid, "not there")),
                found => found,
            }),
        ),
        (
            "an_unreadable_snapshot_is_a_corrupt_error",
            "an unreadable snapshot is none",
            Find(|kept, which| kept.find(which).or(Ok(None))),
        ),
        (
            "an_unreadable_snapshot_is_a_corrupt_error",
            "an unreadable snapshot is out of reach for the moment",
            Find(|kept, which| {
                kept.find(which).map_err(|_| StorageError::new(ErrorKind::Unavailable, "unreadable"))
            }),
        ),
        (
            "an_unreadable_snapshot_does_not_affect_others",
            "all snapshots of a key are decoded",
            Find(|kept, which| {
                kept.find(SnapshotAt::Latest)?;
                kept.find(which)
            }),
        ),
    ]
}

fn values() -> Vec<Proof> {
    use SnapshotDefect::{Keep, Put, Stale};
    fn head(snapshot: &mut Sn, change: impl Fn(Head<S>) -> Head<S>) {
        snapshot.head = snapshot.head.map(change);
    }
    fn micro(microsecond: i64) -> Timestamp {
        Timestamp::from_microsecond(microsecond).expect("in range")
    }
    vec![
        (
            "values_come_back",
            "empty texts are none",
            Keep(|s| s.value = s.value.take().filter(|value| *value != Sample::Text(String::new()))),
        ),
        (
            "values_come_back",
            "bytes are taken for text",
            Keep(|s| {
                if let Some(Sample::Bytes(bytes)) = &mut s.value {
                    *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                }
            }),
        ),
        (
            "deletions_come_back",
            "a deletion is not kept",
            Put(|kept, snapshot, mode| {
                if snapshot.value.is_some() {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "a_deletion_replaces_a_value",
            "a deletion removes what is cached",
            Put(|kept, snapshot, mode| {
                kept.put(snapshot, mode);
                kept.cached = kept.cached.take().filter(|cached| cached.value.is_some());
            }),
        ),
        (
            "sequences_come_back",
            "sequences are kept as floating point",
            Keep(|s| {
                head(s, |head| {
                    let number = (head.sequence.number() as f64 as u64).min(i64::MAX as u64 - 1);
                    Head { sequence: S::from_parts(number, head.sequence.zone()).expect("in range"), ..head }
                });
            }),
        ),
        (
            "sequences_come_back",
            "zones are lost",
            Keep(|s| {
                head(s, |head| Head {
                    sequence: S::from_parts(head.sequence.number(), Zone(0)).expect("in range"),
                    ..head
                });
            }),
        ),
        (
            "times_come_back",
            "times are kept in milliseconds",
            Keep(|s| head(s, |head| Head { time: micro(head.time.as_millisecond() * 1_000), ..head })),
        ),
        (
            "times_come_back",
            "times before 1970 are 1970",
            Keep(|s| head(s, |head| Head { time: head.time.max(Timestamp::UNIX_EPOCH), ..head })),
        ),
        (
            "commit_ids_come_back",
            "commit ids are lost",
            Keep(|s| head(s, |head| Head { commit_id: None, ..head })),
        ),
        (
            "commit_ids_come_back",
            "a missing commit id is the nil UUID",
            Keep(|s| {
                head(s, |head| {
                    let commit_id = head.commit_id.or(Some(CommitId(uuid::Uuid::nil())));
                    Head { commit_id, ..head }
                });
            }),
        ),
        (
            "large_values_come_back",
            "values are cut to 400 KB",
            Keep(|s| {
                if let Some(Sample::Text(text)) = &mut s.value {
                    text.truncate(400_000);
                }
            }),
        ),
        (
            "a_snapshot_is_visible_through_every_handle",
            "a handle sees what was there when it was opened",
            Stale,
        ),
    ]
}

fn modes() -> Vec<Proof> {
    use SnapshotDefect::{CheckThenPut, Put, ReadThenWriteAll};
    use SnapshotMode::{Cache, Epoch};
    fn same(a: Option<&Sn>, b: &Sn) -> bool {
        a.is_some_and(|a| a.sequence() == b.sequence())
    }
    vec![
        (
            "the_cache_keeps_one_snapshot",
            "the cache keeps all that was cached",
            Put(|kept, snapshot, _| kept.put(snapshot, Epoch)),
        ),
        ("the_cache_never_goes_back", "the last to cache wins", Put(last_wins)),
        (
            "an_older_value_does_not_replace_a_cached_deletion",
            "a value wins over a deletion",
            Put(|kept, snapshot, mode| {
                kept.cached = kept.cached.take().filter(|cached| cached.value.is_some());
                kept.put(snapshot, mode);
            }),
        ),
        (
            "the_cache_replaces_one_of_the_same_sequence",
            "the first of a sequence stays cached",
            Put(|kept, snapshot, mode| {
                if mode == Epoch || !same(kept.cached.as_ref(), snapshot) {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "the_cache_is_independent_of_epochs",
            "nothing is cached that an epoch is beyond",
            Put(|kept, snapshot, mode| {
                let latest = kept.epochs.keys().next_back().copied();
                if mode == Epoch || latest < snapshot.sequence() {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "epochs_are_kept",
            "there are 20 epochs at most",
            Put(|kept, snapshot, mode| {
                kept.put(snapshot, mode);
                if kept.epochs.len() > 20 {
                    kept.epochs.pop_first();
                }
            }),
        ),
        (
            "an_epoch_may_be_put_out_of_order",
            "an epoch before the latest is left out",
            Put(|kept, snapshot, mode| {
                if mode == Cache || kept.epochs.keys().next_back().copied() < snapshot.sequence() {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "an_epoch_replaces_one_of_the_same_sequence",
            "the first epoch of a sequence stays",
            Put(|kept, snapshot, mode| {
                let there = snapshot.sequence().is_some_and(|sequence| kept.epochs.contains_key(&sequence));
                if mode == Cache || !there {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "a_cached_snapshot_replaces_no_epoch",
            "what is cached replaces the latest of all",
            Put(|kept, snapshot, mode| {
                if mode == Cache {
                    kept.epochs.pop_last();
                }
                kept.put(snapshot, mode);
            }),
        ),
        (
            "an_epoch_outlives_a_cached_one_of_its_sequence",
            "an epoch and a cached one of one sequence are one, and cached",
            Put(|kept, snapshot, mode| {
                if mode == Cache
                    && let Some(sequence) = snapshot.sequence()
                {
                    kept.epochs.remove(&sequence);
                }
                kept.put(snapshot, mode);
            }),
        ),
        (
            "an_epoch_outlives_a_cached_one_of_its_sequence",
            "what is cached already is not kept as an epoch",
            Put(|kept, snapshot, mode| {
                if mode == Cache || !same(kept.cached.as_ref(), snapshot) {
                    kept.put(snapshot, mode);
                }
            }),
        ),
        (
            "an_epoch_replaces_no_cached_snapshot",
            "an epoch beyond the cached one replaces it",
            Put(|kept, snapshot, mode| {
                kept.cached =
                    kept.cached.take().filter(|c| mode == Cache || c.sequence() > snapshot.sequence());
                kept.put(snapshot, mode);
            }),
        ),
        (
            "a_snapshot_of_no_event_is_not_kept",
            "a snapshot of no event is cached",
            Put(|kept, snapshot, mode| {
                if snapshot.head.is_none() {
                    kept.cached = Some(snapshot.clone());
                }
                kept.put(snapshot, mode);
            }),
        ),
        (
            "a_snapshot_of_no_event_replaces_nothing",
            "a snapshot of no event empties the cache",
            Put(|kept, snapshot, mode| {
                kept.cached = kept.cached.take().filter(|_| snapshot.head.is_some());
                kept.put(snapshot, mode);
            }),
        ),
        (
            "a_snapshot_inside_a_commit_is_not_kept",
            "a snapshot inside a commit is kept as one at its end",
            Put(|kept, snapshot, mode| kept.put(&Snapshot::new(snapshot.value.clone(), snapshot.head), mode)),
        ),
        ("concurrent_cache_puts_keep_the_greatest", "a put looks first and caches later", CheckThenPut),
        ("concurrent_epoch_puts_are_all_kept", "a put reads all, and writes all back", ReadThenWriteAll),
        (
            "a_reader_during_writes_never_goes_back",
            "every tenth put caches the one before",
            Put(|kept, snapshot, mode| {
                let tenth = snapshot.sequence().is_some_and(|sequence| sequence.number() % 10 == 0);
                if tenth {
                    kept.cached = kept.epochs.values().next().cloned();
                } else {
                    kept.put(snapshot, mode);
                }
            }),
        ),
    ]
}

pub(crate) fn last_wins(kept: &mut Kept, snapshot: &Sn, mode: SnapshotMode) {
    if mode == SnapshotMode::Cache {
        kept.cached = Some(snapshot.clone());
    } else {
        kept.put(snapshot, mode);
    }
}
