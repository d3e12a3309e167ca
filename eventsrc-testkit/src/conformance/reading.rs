//! Reading whole streams, and streams from a sequence on.

use std::sync::Arc;

use eventsrc_core::stream::Zone;
use eventsrc_core::{EventStorage, Sequence};
use futures::TryStreamExt;

use super::backend::Backend;
use super::sample::Sample;
use super::trial::{
    SequenceOf, Trial, ensure_same_events, events_from, events_in, read_events, run_concurrently, sequence,
};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// `latest` is `None` for a stream without events.
pub(super) async fn latest_is_none_without_events<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    ensure_eq!(storage.latest("a").await?, None, "latest of an empty storage");
    storage.stores(&on.commit("b", 1, 1)).await?;
    ensure_eq!(storage.latest("a").await?, None, "latest of a stream next to others");
    Ok(())
}

/// `latest` is the last sequence of a commit of several events.
pub(super) async fn latest_is_the_last_sequence_of_the_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let commit = on.commit("a", 1, 5);
    storage.stores(&commit).await?;
    let sequence = storage.latest("a").await?.map(|head| head.sequence);
    ensure_eq!(sequence, Some(commit.last()), "the latest sequence");
    Ok(())
}

/// `latest` has the time of the last commit.
pub(super) async fn latest_has_the_time_of_the_last_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 2]);
    storage.stores_all(&stored).await?;
    ensure_eq!(storage.latest("a").await?.map(|head| head.time), Some(stored[1].time), "the latest time");
    Ok(())
}

/// `latest` has the id of the last commit.
pub(super) async fn latest_has_the_id_of_the_last_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for commit in on.chain("a", [1, 2, 1]) {
        storage.stores(&commit).await?;
        let commit_id = storage.latest("a").await?.and_then(|head| head.commit_id);
        ensure_eq!(commit_id, Some(commit.metadata.commit_id), "the id of the latest commit");
    }
    Ok(())
}

/// `latest` advances with each commit, also past 10 and 100. A store that orders numbers as text violates it.
pub(super) async fn latest_advances_with_each_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for commit in on.chain("a", [1; 120]) {
        storage.stores(&commit).await?;
        ensure_eq!(storage.latest("a").await?, Some(commit.head()), "latest");
    }
    Ok(())
}

/// `latest` is the head of the last commit, even if an earlier commit has a later time.
pub(super) async fn latest_is_ordered_by_sequence_not_by_time<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let (second, first) = (on.draft("a", 2, 1), on.commit("a", 1, 1));
    let second = Arc::new(second);
    ensure!(second.time < first.time, "the trial's times grow");
    storage.stores_all(&[first, Arc::clone(&second)]).await?;
    ensure_eq!(storage.latest("a").await?, Some(second.head()), "latest");
    Ok(())
}

/// Events are in order, without holes or repetitions, over a stream of many commits.
pub(super) async fn events_are_in_order_without_holes_or_repetitions<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", (0..130).map(|at| 1 + at % 4));
    storage.stores_all(&stored).await?;
    let events = storage.events("a", None).await?;
    for (number, (commit, index)) in (1..).zip(&events) {
        ensure_eq!(commit.first.number() + *index as u64, number, "the number of an event");
    }
    ensure_eq!(events.len(), stored.iter().map(|commit| commit.len()).sum::<usize>(), "the number of events");
    Ok(())
}

/// A long stream is read in several pages, so a reader holds only a part of it in memory.
pub(super) async fn a_long_stream_comes_in_several_pages<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(30_000));
    let commits = (1..=300).map(|number| {
        let mut commit = on.draft("a", number, 1);
        commit.payloads[0] = text.clone();
        Arc::new(commit)
    });
    let stored: Vec<_> = commits.collect();
    storage.stores_all(&stored).await?;
    let pages: Vec<_> = storage.storage().events(&"a".into(), None).try_collect().await?;
    ensure!(pages.len() > 1, "300 events of 30,000 bytes came in one page");
    let events: Vec<_> = pages.iter().flat_map(|page| events_in::<B>(page)).collect();
    ensure_same_events::<B>(&events, &events_from::<B>(&stored, None))
}

/// A long stream can be read from each of its sequences, on whichever page it is.
pub(super) async fn a_long_stream_is_read_from_each_of_its_sequences<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", (0..270).map(|at| 1 + at % 3));
    storage.stores_all(&stored).await?;
    for number in (1..540).step_by(7) {
        let first = stored.iter().rfind(|commit| commit.first.number() <= number).map(|commit| commit.first);
        let from = first.and_then(|first| SequenceOf::<B>::from_parts(number, first.zone()));
        let from = from.ok_or_else(|| Violation::new("a sequence of a stored commit has parts"))?;
        storage.holds_from("a", from, &stored).await?;
    }
    Ok(())
}

/// A read from the first sequence returns all events.
pub(super) async fn events_from_the_first_sequence_are_all<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 1, 3]);
    storage.stores_all(&stored).await?;
    let from = storage.events("a", Some(stored[0].first)).await?;
    ensure_same_events::<B>(&from, &events_from::<B>(&stored, None))
}

/// A read from the first sequence of a commit begins there.
pub(super) async fn events_from_the_first_of_a_commit_begin_there<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 3, 1, 1, 4, 2]);
    storage.stores_all(&stored).await?;
    for commit in &stored {
        storage.holds_from("a", commit.first, &stored).await?;
    }
    Ok(())
}

/// A read from a sequence inside a commit begins at that event.
pub(super) async fn events_from_inside_a_commit_begin_there<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3, 5, 1, 2]);
    storage.stores_all(&stored).await?;
    for commit in &stored {
        for event in commit.events().skip(1) {
            storage.holds_from("a", event.sequence(), &stored).await?;
        }
    }
    Ok(())
}

/// A read from any event of a commit of 101 events begins at that event.
pub(super) async fn events_from_every_index_of_a_long_commit_begin_there<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 101, 1]);
    storage.stores_all(&stored).await?;
    for event in stored[1].events() {
        storage.holds_from("a", event.sequence(), &stored).await?;
    }
    Ok(())
}

/// A read from the last sequence returns the last event.
pub(super) async fn events_from_the_last_sequence_are_the_last_event<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 3]);
    storage.stores_all(&stored).await?;
    ensure_eq!(storage.events("a", Some(stored[1].last())).await?.len(), 1, "the number of events");
    storage.holds_from("a", stored[1].last(), &stored).await
}

/// A read from the sequence after the end is empty.
pub(super) async fn events_from_beyond_the_end_are_empty<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [2, 3])).await?;
    ensure_eq!(storage.events("a", Some(sequence(6))).await?.len(), 0, "the number of events");
    Ok(())
}

/// A read from a sequence far beyond the end is empty.
pub(super) async fn events_from_far_beyond_the_end_are_empty<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.stores_all(&on.chain("a", [2, 3])).await?;
    for number in [1_000, u64::from(u32::MAX), i64::MAX as u64] {
        ensure_eq!(storage.events("a", Some(sequence(number))).await?.len(), 0, "events from {number}");
    }
    Ok(())
}

/// `events_after` the end of a commit returns the events from the next sequence on, and all events if there is no
/// end.
pub(super) async fn events_after_a_commit_are_those_from_the_next_sequence<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [3, 1, 2, 1]);
    storage.stores_all(&stored).await?;
    let key = "a".into();
    for ended in 0..=stored.len() {
        let end = ended.checked_sub(1).map(|last| stored[last].last());
        let events = read_events::<B>(storage.storage().events_after(&key, end)).await?;
        ensure_same_events::<B>(&events, &events_from::<B>(&stored[ended..], None))
            .map_err(|violation| Violation::new(format!("events after {end:?}: {violation}")))?;
    }
    Ok(())
}

/// A read from a sequence of another zone begins at the first event that is not less.
pub(super) async fn events_from_another_zone_begin_at_the_first_not_less<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [2, 3, 1]);
    storage.stores_all(&stored).await?;
    for number in 1..=6 {
        for zone in [0, 1, 2, 3, u16::MAX] {
            if let Some(from) = SequenceOf::<B>::from_parts(number, Zone(zone)) {
                storage.holds_from("a", from, &stored).await?;
            }
        }
    }
    Ok(())
}

/// A stream without events reads as empty.
pub(super) async fn a_stream_without_events_is_empty<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.holds("a", &[]).await?;
    storage.stores(&on.commit("b", 1, 3)).await?;
    storage.holds("a", &[]).await
}

/// A stream without events is empty from any sequence.
pub(super) async fn a_stream_without_events_is_empty_from_any_sequence<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for number in [1, 2, 1_000, i64::MAX as u64] {
        ensure_eq!(storage.events("a", Some(sequence(number))).await?.len(), 0, "events from {number}");
    }
    Ok(())
}

/// Reading a stream does not create it. Its first commit is stored afterwards.
pub(super) async fn reading_a_stream_changes_nothing<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    storage.holds("a", &[]).await?;
    storage.events("a", Some(sequence(3))).await?;
    storage.round_trips(&on.chain("a", [1, 2])).await
}

/// A running read returns all events that were stored before it began, and later commits completely or not at all.
pub(super) async fn a_running_read_continues_during_writes<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(30_000));
    let commits = on.chain("a", [2; 90]).into_iter().map(|commit| {
        let mut commit = Arc::unwrap_or_clone(commit);
        commit.payloads[1] = text.clone();
        Arc::new(commit)
    });
    let commits: Vec<_> = commits.collect();
    let (before, later) = commits.split_at(80);
    storage.stores_all(before).await?;
    let key = "a".into();
    let mut pages = storage.storage().events(&key, None);
    let mut events = pages.try_next().await?.map_or_else(Vec::new, |page| events_in::<B>(&page));
    storage.stores_all(later).await?;
    events.extend(read_events::<B>(pages).await?);
    let (pairs, rest) = (events.len() / 2, events.len() % 2);
    ensure!((80..=90).contains(&pairs) && rest == 0, "{} events; expected 160 to 180 in pairs", events.len());
    ensure_same_events::<B>(&events, &events_from::<B>(&commits[..pairs], None))
}

/// Concurrent reads of one stream all return every event.
pub(super) async fn concurrent_reads_of_one_stream_are_complete<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", (0..60).map(|at| 1 + at % 5));
    storage.stores_all(&stored).await?;
    let readers = (0..32).map(|_| {
        let (storage, stored) = (storage.clone(), stored.clone());
        async move { storage.holds("a", &stored).await }
    });
    run_concurrently(readers).await?.into_iter().collect()
}

/// A put at the sequence after `latest` is stored.
pub(super) async fn a_put_right_after_latest_is_stored<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = Vec::new();
    for length in [1, 4, 2, 1, 7] {
        let head = storage.latest("a").await?;
        let mut next = on.draft("a", head.map_or(1, |head| head.sequence.number() + 1), length);
        next.previous = head.and_then(|head| head.commit_id);
        stored.push(next.into());
        storage.stores(&stored[stored.len() - 1]).await?;
    }
    storage.holds("a", &stored).await
}
