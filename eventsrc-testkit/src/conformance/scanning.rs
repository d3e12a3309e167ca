//! Scanning all streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsrc_core::storage::{ScanStorage, Segment};
use futures::TryStreamExt;

use super::backend::Backend;
use super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::sample::{Sample, SampleKey};
use super::trial::{CommitOf, Handle, Seen, Trial, events_from, events_in, same, together};

/// A storage without events scans as empty, in one segment and in many.
pub async fn an_empty_storage_scans_as_empty<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for segment in Segment::split(3).chain([Segment::ALL]) {
        ensure_eq!(storage.scan(segment).await?.len(), 0, "the number of events");
    }
    Ok(())
}

/// A scan delivers every event of every stream.
pub async fn a_scan_delivers_every_event<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    everything::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A scan delivers what was acknowledged right before, through any handle.
pub async fn a_scan_delivers_what_was_just_stored<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let (storage, other) = (on.open().await, on.open().await);
    let mut streams = Vec::new();
    for at in 0..12 {
        let chain = on.chain(&*format!("stream {at}"), [1, 2]);
        storage.stores_all(&chain).await?;
        streams.push(chain);
        everything::<B>(storage.scan(Segment::ALL).await?, &streams)?;
        everything::<B>(other.scan(Segment::ALL).await?, &streams)?;
    }
    Ok(())
}

/// Two segments are disjoint, and together everything.
pub async fn two_segments_are_disjoint_and_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 2).await
}

/// Three segments are disjoint, and together everything.
pub async fn three_segments_are_disjoint_and_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 3).await
}

/// Seven segments are disjoint, and together everything.
pub async fn seven_segments_are_disjoint_and_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 7).await
}

/// More segments than streams are disjoint, and together everything.
pub async fn more_segments_than_streams_are_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    segments(on, 300).await
}

/// Segments that are scanned through different handles are disjoint, and together everything.
pub async fn segments_through_different_handles_are_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let streams = stored(on, &on.open().await, 40).await?;
    let mut events = Vec::new();
    for segment in Segment::split(4) {
        events.extend(on.open().await.scan(segment).await?);
    }
    everything::<B>(events, &streams)
}

/// Segments that are scanned side by side are disjoint, and together everything.
pub async fn segments_side_by_side_are_everything<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let scans = Segment::split(4).map(|segment| {
        let storage = storage.clone();
        async move { storage.scan(segment).await }
    });
    let mut events = Vec::new();
    for part in together(scans).await? {
        events.extend(part?);
    }
    everything::<B>(events, &streams)
}

/// A stream lies in one segment as a whole.
pub async fn a_stream_lies_in_one_segment<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    stored(on, &storage, 40).await?;
    let mut segment_of: BTreeMap<SampleKey, u32> = BTreeMap::new();
    for segment in Segment::split(5) {
        for (commit, _) in storage.scan(segment).await? {
            let first = *segment_of.entry(commit.key.clone()).or_insert(segment.index());
            ensure!(
                first == segment.index(),
                "{:?} lies in segments {first} and {}",
                commit.key,
                segment.index()
            );
        }
    }
    ensure_eq!(segment_of.len(), 40, "streams seen");
    Ok(())
}

/// The events of each stream come in order, without holes or repetitions, also those of a stream of many pages.
pub async fn scanned_streams_are_in_order<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let text = Sample::of_length(on.capabilities().largest_commit.min(30_000));
    let long = on.chain("long", [2; 100]).into_iter().map(|commit| {
        let mut commit = Arc::unwrap_or_clone(commit);
        commit.payloads[0] = text.clone();
        Arc::new(commit)
    });
    let long: Vec<_> = long.collect();
    let short = on.chain("short", (0..60).map(|at| 1 + at % 3));
    // By turns, so that the two are mixed where events lie in the order in which they came.
    for (at, commit) in long.iter().enumerate() {
        storage.stores(commit).await?;
        if let Some(commit) = short.get(at) {
            storage.stores(commit).await?;
        }
    }
    everything::<B>(storage.scan(Segment::ALL).await?, &[long, short])
}

/// A commit of 1,000 events is scanned whole.
pub async fn a_scan_delivers_a_commit_of_1000_events<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = [on.chain("a", [1, 1_000, 1]), on.chain("b", [1_000])];
    for stream in &streams {
        storage.stores_all(stream).await?;
    }
    everything::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A stream that begins later than at its first sequence is scanned from where it begins.
pub async fn a_scan_delivers_streams_that_begin_later<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = [vec![on.commit("a", 9, 2), on.commit("a", 11, 1)], on.chain("b", [1])];
    for stream in &streams {
        storage.stores_all(stream).await?;
    }
    everything::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// Keys and all fields come back from a scan as they were put.
pub async fn a_scan_gives_commits_back_as_they_were_put<B: Backend<Storage: ScanStorage>>(
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
    everything::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// A scan beside writers delivers all that was stored when it began, and of the rest no more than whole commits.
pub async fn a_scan_beside_writers_delivers_what_was_there<B: Backend<Storage: ScanStorage>>(
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
    events.extend(super::trial::seen::<B>(pages).await?);
    let mut scanned = by_stream::<B>(events);
    for stream in &streams {
        let found = scanned.remove(&stream[0].key).unwrap_or_default();
        ensure!(matches!(found.len(), 4 | 6), "{} events of {:?}, of 4 or 6", found.len(), stream[0].key);
        same::<B>(&found, &events_from::<B>(&stream[..found.len() / 2], None))?;
    }
    ensure_eq!(scanned.len(), 0, "streams that nobody wrote");
    Ok(())
}

/// A scan may be dropped early, and holds nobody up.
pub async fn a_scan_may_be_dropped_early<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut streams = stored(on, &storage, 40).await?;
    let mut waiting = storage.storage().scan(Segment::ALL);
    waiting.try_next().await?;
    for _ in 0..100 {
        let mut pages = storage.storage().scan(Segment::ALL);
        ensure!(pages.try_next().await?.is_some(), "a scan has no page");
    }
    let more = on.chain("more", [1, 2]);
    storage.stores_all(&more).await?;
    streams.push(more);
    everything::<B>(storage.scan(Segment::ALL).await?, &streams)
}

/// 2,000 streams are scanned, each once.
pub async fn a_scan_delivers_two_thousand_streams<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams: Vec<_> =
        (0..2_000).map(|at| vec![on.commit(&*format!("stream {at}"), 1, 1 + at % 2)]).collect();
    let writers = streams.chunks(40).map(|streams| {
        let (storage, commits) = (storage.clone(), streams.concat());
        async move { storage.stores_all(&commits).await }
    });
    together(writers).await?.into_iter().collect::<RuleResult>()?;
    let mut events = Vec::new();
    for segment in Segment::split(4) {
        events.extend(storage.scan(segment).await?);
    }
    everything::<B>(events, &streams)
}

/// A scan agrees with reading each stream.
pub async fn a_scan_agrees_with_the_streams<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let scanned = by_stream::<B>(storage.scan(Segment::ALL).await?);
    for stream in &streams {
        let key = &stream[0].key;
        let found = scanned.get(key).ok_or_else(|| Violation::new(format!("{key:?} is not scanned")))?;
        same::<B>(found, &storage.events(key, None).await?)?;
    }
    Ok(())
}

async fn segments<B: Backend<Storage: ScanStorage>>(on: &Trial<B>, total: u32) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    let segments: Vec<_> = Segment::split(total).collect();
    // Where there are many, several are scanned side by side.
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
    for part in together(scans).await? {
        events.extend(part?);
    }
    everything::<B>(events, &streams)
}

/// Stores some streams of a few commits.
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
    together(writers).await?.into_iter().collect::<RuleResult>()?;
    Ok(streams)
}

/// Expects the events to be those of `streams`, each stream in order; streams may be mixed.
fn everything<B: Backend>(events: Vec<Seen<B>>, streams: &[Vec<CommitOf<B>>]) -> RuleResult {
    let mut scanned = by_stream::<B>(events);
    for stream in streams {
        let found = scanned.remove(&stream[0].key).unwrap_or_default();
        same::<B>(&found, &events_from::<B>(stream, None))?;
    }
    let strange = scanned.keys().next();
    ensure!(strange.is_none(), "the scan gives {strange:?}, which nobody stored");
    Ok(())
}

fn by_stream<B: Backend>(events: Vec<Seen<B>>) -> BTreeMap<SampleKey, Vec<Seen<B>>> {
    let mut streams: BTreeMap<SampleKey, Vec<Seen<B>>> = BTreeMap::new();
    for (commit, place) in events {
        streams.entry(commit.key.clone()).or_default().push((commit, place));
    }
    streams
}
