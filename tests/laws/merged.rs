//! Merged storages are associative and idempotent, and keep order without repetitions.

use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::storage::{Merged, Put};
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::{
    Commit, ErrorKind, EventStorage, MemoryStorage, Metadata, Sequence, StreamName, Timestamp,
};
use futures::TryStreamExt;
use futures::executor::block_on;
use proptest::collection::vec;
use proptest::prelude::*;

type Storage = Arc<MemoryStorage<StreamName, ZonedSequence, String>>;
type Event = (ZonedSequence, String);

fn key() -> StreamName {
    StreamName::new("stream", "1").unwrap()
}

fn commit(zone: u16, first: u64, payloads: Vec<String>) -> Arc<Commit<StreamName, ZonedSequence, String>> {
    let seed = u64::from(zone) << 32 | first;
    let metadata = Metadata::new(Randomness::seeded(seed).commit_id(Timestamp::UNIX_EPOCH));
    let first = ZonedSequence::from_parts(first, Zone(zone)).unwrap();
    Arc::new(Commit {
        key: key(),
        first,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata,
        payloads: payloads.try_into().unwrap(),
    })
}

/// A storage of one zone with commits of these sizes, a prefix of the stream. The payload names its storage.
fn storages() -> impl Strategy<Value = Storage> {
    (0..3_u16, vec(1..4_usize, 0..8)).prop_map(|(zone, sizes)| {
        let storage = Storage::default();
        let mut first = 1;
        for size in sizes {
            let payloads = (0..size).map(|place| format!("{zone}:{first}+{place}")).collect();
            assert!(matches!(block_on(storage.put(commit(zone, first, payloads))).unwrap(), Put::Stored));
            first += size as u64;
        }
        storage
    })
}

fn read(
    storage: &impl EventStorage<Key = StreamName, Sequence = ZonedSequence, Payload = String>,
    from: Option<ZonedSequence>,
) -> Vec<Event> {
    let pages: Vec<_> = block_on(storage.events(&key(), from).try_collect()).unwrap();
    let events = |page: &eventsrc_core::storage::Page<_, ZonedSequence, String>| -> Vec<Event> {
        page.events().map(|event| (event.sequence(), event.payload.clone())).collect()
    };
    pages.iter().flat_map(events).collect()
}

fn latest(storage: &impl EventStorage<Key = StreamName, Sequence = ZonedSequence>) -> Option<ZonedSequence> {
    block_on(storage.latest(&key())).unwrap().map(|head| head.sequence)
}

fn recent(
    storage: &impl EventStorage<Key = StreamName, Sequence = ZonedSequence>,
    count: usize,
) -> Vec<ZonedSequence> {
    block_on(storage.recent(&key(), count)).unwrap().into_iter().map(|head| head.sequence).collect()
}

/// The events of both storages, in order. Where both have an event, the first one's is taken.
fn expected(a: &[Event], b: &[Event]) -> Vec<Event> {
    let only_in_b = b.iter().filter(|(sequence, _)| a.iter().all(|(other, _)| other != sequence));
    let mut all: Vec<Event> = a.iter().chain(only_in_b).cloned().collect();
    all.sort_by_key(|(sequence, _)| *sequence);
    all
}

proptest! {
    #[test]
    fn reads_of_both_are_in_order_and_without_repetitions(a in storages(), b in storages(), from in 1..16_u64, zone in 0..3_u16) {
        let merged = Merged::new(Arc::clone(&a), Arc::clone(&b));
        let all = expected(&read(&a, None), &read(&b, None));
        prop_assert_eq!(&read(&merged, None), &all);
        let from = ZonedSequence::from_parts(from, Zone(zone)).unwrap();
        let tail: Vec<_> = all.into_iter().filter(|(sequence, _)| *sequence >= from).collect();
        prop_assert_eq!(read(&merged, Some(from)), tail);
        prop_assert_eq!(latest(&merged), latest(&a).max(latest(&b)));
        let mut ends: Vec<_> = recent(&a, usize::MAX).into_iter().chain(recent(&b, usize::MAX)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.dedup();
        for count in 0..4 {
            prop_assert_eq!(recent(&merged, count), &ends[..count.min(ends.len())]);
        }
    }

    #[test]
    fn merging_is_associative(a in storages(), b in storages(), c in storages()) {
        let left = Merged::new(Merged::new(Arc::clone(&a), Arc::clone(&b)), Arc::clone(&c));
        let right = Merged::new(Arc::clone(&a), Merged::new(Arc::clone(&b), Arc::clone(&c)));
        prop_assert_eq!(read(&left, None), read(&right, None));
        prop_assert_eq!(latest(&left), latest(&right));
    }

    #[test]
    fn puts_go_to_the_first_whatever_the_nesting(a in storages(), b in storages(), c in storages(), nested_left in any::<bool>()) {
        let before = (read(&b, None), read(&c, None));
        let first = ZonedSequence::following(latest(&a), Zone(9)).unwrap();
        let put = commit(9, first.number(), vec!["new".into()]);
        let stored = if nested_left {
            block_on(Merged::new(Merged::new(Arc::clone(&a), Arc::clone(&b)), Arc::clone(&c)).put(put))
        } else {
            block_on(Merged::new(Arc::clone(&a), Merged::new(Arc::clone(&b), Arc::clone(&c))).put(put))
        };
        prop_assert!(matches!(stored.unwrap(), Put::Stored));
        prop_assert_eq!(latest(&a), Some(first));
        prop_assert_eq!((read(&b, None), read(&c, None)), before);
    }

    #[test]
    fn a_put_is_refused_whose_predecessor_only_the_second_has(a in storages(), b in storages()) {
        let (end_of_a, end_of_b) = (latest(&a), latest(&b));
        prop_assume!(end_of_b.map(Sequence::number) > end_of_a.map(Sequence::number));
        let next = ZonedSequence::following(end_of_b, Zone(9)).unwrap();
        let put = commit(9, next.number(), vec!["new".into()]);
        let error = block_on(Merged::new(Arc::clone(&a), Arc::clone(&b)).put(put)).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Diverged);
        prop_assert_eq!((latest(&a), latest(&b)), (end_of_a, end_of_b));
    }

    #[test]
    fn merging_is_idempotent(a in storages()) {
        let merged = Merged::new(Arc::clone(&a), Arc::clone(&a));
        prop_assert_eq!(read(&merged, None), read(&a, None));
        prop_assert_eq!(latest(&merged), latest(&a));
        let next = ZonedSequence::following(latest(&a), Zone(9)).unwrap();
        let put = commit(9, next.number(), vec!["new".into()]);
        prop_assert!(matches!(block_on(merged.put(Arc::clone(&put))).unwrap(), Put::Stored));
        let again = matches!(block_on(merged.put(put)).unwrap(), Put::Repeated { .. });
        prop_assert!(again);
        prop_assert_eq!(latest(&a), Some(next));
        prop_assert_eq!(read(&merged, None), read(&a, None));
    }
}
