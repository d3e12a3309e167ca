//! Scans of all streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsrc_core::storage::{ScanStorage, Segment};
use futures::TryStreamExt;

use super::backend::Backend;
use super::sample::{Sample, SampleKey};
use super::trial::{
    CommitOf, Handle, ReadEvent, Trial, ensure_same_events, events_from, events_in, read_events,
    run_concurrently,
};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A scan of a storage without events is empty, in one segment and in several.
pub(super) async fn an_empty_storage_scans_as_empty<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for segment in Segment::split(3).chain([Segment::ALL]) {
        ensure_eq!(storage.scan(segment).await?.len(), 0, "the number of events");
    }
    Ok(())
}

/// A scan delivers every event of every stream.
pub(super) async fn a_scan_delivers_every_event<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    ensure_complete::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A scan delivers a commit as soon as its put is answered, through every handle.
pub(super) async fn a_scan_delivers_what_was_just_stored<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let (storage, other) = (on.open().await, on.open().await);
    let mut streams = Vec::new();
    for at in 0..12 {
        let chain = on.chain(&*format!("stream {at}"), [1, 2]);
        storage.stores_all(&chain).await?;
        streams.push(chain);
        ensure_complete::<B>(storage.scan(Segment::ALL).await?, &streams)?;
        ensure_complete::<B>(other.scan(Segment::ALL).await?, &streams)?;
    }
    Ok(())
}

/// Two segments are disjoint and together complete.
pub(super) async fn two_segments_are_disjoint_and_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 2).await
}

/// Three segments are disjoint and together complete.
pub(super) async fn three_segments_are_disjoint_and_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 3).await
}

/// Seven segments are disjoint and together complete.
pub(super) async fn seven_segments_are_disjoint_and_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 7).await
}

/// More segments than streams are disjoint and together complete.
pub(super) async fn more_segments_than_streams_are_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 300).await
}

/// Segments that are scanned through different handles are disjoint and together complete.
pub(super) async fn segments_through_different_handles_are_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let streams = stored(on, &on.open().await, 40).await?;
    let mut events = Vec::new();
    for segment in Segment::split(4) {
        events.extend(on.open().await.scan(segment).await?);
    }
    ensure_complete::<B>(events, &streams)
}

/// Segments that are scanned concurrently are disjoint and together complete.
pub(super) async fn concurrent_segments_are_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let scans = Segment::split(4).map(|segment| {
        let storage = storage.clone();
        async move { storage.scan(segment).await }
    });
    let mut events = Vec::new();
    for part in run_concurrently(scans).await? {
        events.extend(part?);
    }
    ensure_complete::<B>(events, &streams)
}

/// All events of a stream are in one segment.
pub(super) async fn a_stream_lies_in_one_segment<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    stored(on, &storage, 40).await?;
    let mut segment_of: BTreeMap<SampleKey, u32> = BTreeMap::new();
    for segment in Segment::split(5) {
        for (commit, _) in storage.scan(segment).await? {
            let first = *segment_of.entry(commit.key.clone()).or_insert(segment.index());
            ensure!(
                first == segment.index(),
                "{:?} is in segments {first} and {}",
                commit.key,
                segment.index()
            );
        }
    }
    ensure_eq!(segment_of.len(), 40, "streams seen");
    Ok(())
}

/// The events of each stream are in order, without holes or repetitions, also if the stream spans many pages.
pub(super) async fn scanned_streams_are_in_order<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(30_000));
    let long = on.chain("long", [2; 100]).into_iter().map(|commit| {
        let mut commit = Arc::unwrap_or_clone(commit);
        commit.payloads[0] = text.clone();
        Arc::new(commit)
    });
    let long: Vec<_> = long.collect();
    let short = on.chain("short", (0..60).map(|at| 1 + at % 3));
    // In turn, so that the two are interleaved in stores that keep the order of arrival.
    for (at, commit) in long.iter().enumerate() {
        storage.stores(commit).await?;
        if let Some(commit) = short.get(at) {
            storage.stores(commit).await?;
        }
    }
    ensure_complete::<B>(storage.scan(Segment::ALL).await?, &[long, short])
}

/// A scan delivers a commit of 1,000 events completely.
pub(super) async fn a_scan_delivers_a_commit_of_1000_events<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = [on.chain("a", [1, 1_000, 1]), on.chain("b", [1_000])];
    for stream in &streams {
        storage.stores_all(stream).await?;
    }
    ensure_complete::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A scan returns keys and all fields exactly as they were put.
pub(super) async fn a_scan_returns_commits_unchanged<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let names =
        [("user", "Ada "), ("user", "ada"), ("Имя", "a/b"), ("🙂", "'%_\"\\"), ("a", "b/c"), ("a#b", "c")];
    let mut streams = Vec::new();
    for name in names {
        let mut commit = on.draft(name, 1, 3);
        commit.metadata.actor = Some(name.1.into());
        commit.metadata.correlation_id = Some("c".into());
        let stream: Vec<CommitOf<B>> = vec![commit.into(), on.commit(name, 4, 1)];
        storage.stores_all(&stream).await?;
        streams.push(stream);
    }
    ensure_complete::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// During writes, a scan delivers all commits that were stored when it began, and later ones completely or not at
/// all.
pub(super) async fn a_scan_during_writes_delivers_earlier_commits<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(20_000));
    let mut streams = Vec::new();
    for at in 0..30 {
        let mut commit = on.draft(&*format!("stream {at}"), 1, 2);
        commit.payloads[1] = text.clone();
        streams.push(vec![commit.into(), on.commit(&*format!("stream {at}"), 3, 2)]);
    }
    for stream in &streams {
        storage.stores_all(stream).await?;
    }
    let mut pages = storage.storage().scan(Segment::ALL);
    let mut events = pages.try_next().await?.map_or_else(Vec::new, |page| events_in::<B>(&page));
    for (at, stream) in streams.iter_mut().enumerate() {
        stream.push(on.commit(&*format!("stream {at}"), 5, 2));
        storage.stores(&stream[2]).await?;
    }
    events.extend(read_events::<B>(pages).await?);
    let mut scanned = by_stream::<B>(events);
    for stream in &streams {
        let found = scanned.remove(&stream[0].key).unwrap_or_default();
        ensure!(
            matches!(found.len(), 4 | 6),
            "{} events of {:?}; expected 4 or 6",
            found.len(),
            stream[0].key
        );
        ensure_same_events::<B>(&found, &events_from::<B>(&stream[..found.len() / 2], None))?;
    }
    ensure_eq!(scanned.len(), 0, "streams that were never written");
    Ok(())
}

/// A scan may be dropped early, and blocks no other call.
pub(super) async fn a_scan_may_be_dropped_early<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let mut streams = stored(on, &storage, 40).await?;
    let mut unread = storage.storage().scan(Segment::ALL);
    unread.try_next().await?;
    for _ in 0..100 {
        let mut pages = storage.storage().scan(Segment::ALL);
        ensure!(pages.try_next().await?.is_some(), "a scan has no page");
    }
    let more = on.chain("more", [1, 2]);
    storage.stores_all(&more).await?;
    streams.push(more);
    ensure_complete::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A scan delivers 2,000 streams, each once.
pub(super) async fn a_scan_delivers_two_thousand_streams<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams: Vec<_> =
        (0..2_000).map(|at| vec![on.commit(&*format!("stream {at}"), 1, 1 + at % 2)]).collect();
    let writers = streams.chunks(40).map(|streams| {
        let (storage, commits) = (storage.clone(), streams.concat());
        async move { storage.stores_all(&commits).await }
    });
    run_concurrently(writers).await?.into_iter().collect::<RuleResult>()?;
    let mut events = Vec::new();
    for segment in Segment::split(4) {
        events.extend(storage.scan(segment).await?);
    }
    ensure_complete::<B>(events, &streams)
}

/// A scan returns the same events as reads of the streams.
pub(super) async fn a_scan_agrees_with_the_streams<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let scanned = by_stream::<B>(storage.scan(Segment::ALL).await?);
    for stream in &streams {
        let key = &stream[0].key;
        let found = scanned.get(key).ok_or_else(|| Violation::new(format!("{key:?} is not scanned")))?;
        ensure_same_events::<B>(found, &storage.events(key, None).await?)?;
    }
    Ok(())
}

async fn segments<B: Backend<Storage: ScanStorage>>(on: &Trial<B>, total: u32) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let segments: Vec<_> = Segment::split(total).collect();
    // If there are many segments, some are scanned concurrently.
    let scans = segments.chunks(20).map(|segments| {
        let (storage, segments) = (storage.clone(), segments.to_vec());
        async move {
            let mut events = Vec::new();
            for segment in segments {
                events.extend(storage.scan(segment).await?);
            }
            Ok::<_, Violation>(events)
        }
    });
    let mut events = Vec::new();
    for part in run_concurrently(scans).await? {
        events.extend(part?);
    }
    ensure_complete::<B>(events, &streams)
}

/// Stores `streams` streams of a few commits each.
pub(super) async fn stored<B: Backend>(
    on: &Trial<B>,
    storage: &Handle<B>,
    streams: usize,
) -> Result<Vec<Vec<CommitOf<B>>>, Violation> {
    let streams: Vec<_> =
        (0..streams).map(|at| on.chain(&*format!("stream {at}"), [1 + at % 3, 2, 1])).collect();
    let writers = streams.clone().into_iter().map(|stream| {
        let storage = storage.clone();
        async move { storage.stores_all(&stream).await }
    });
    run_concurrently(writers).await?.into_iter().collect::<RuleResult>()?;
    Ok(streams)
}

/// Expects exactly the events of `streams`, each stream in order. Streams may be interleaved.
fn ensure_complete<B: Backend>(events: Vec<ReadEvent<B>>, streams: &[Vec<CommitOf<B>>]) -> RuleResult {
    let mut scanned = by_stream::<B>(events);
    for stream in streams {
        let found = scanned.remove(&stream[0].key).unwrap_or_default();
        ensure_same_events::<B>(&found, &events_from::<B>(stream, None))?;
    }
    let unknown = scanned.keys().next();
    ensure!(unknown.is_none(), "the scan returned {unknown:?}, which was never stored");
    Ok(())
}

fn by_stream<B: Backend>(events: Vec<ReadEvent<B>>) -> BTreeMap<SampleKey, Vec<ReadEvent<B>>> {
    let mut streams: BTreeMap<SampleKey, Vec<ReadEvent<B>>> = BTreeMap::new();
    for (commit, index) in events {
        streams.entry(commit.key.clone()).or_default().push((commit, index));
    }
    streams
}
