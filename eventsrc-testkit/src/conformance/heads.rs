//! The heads of all streams.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{Head, Sequence};
use futures::TryStreamExt;

use super::backend::Backend;
use super::sample::{Sample, SampleKey, Unreadable};
use super::scanning::stored;
use super::trial::{CommitOf, Handle, HeadOf, SequenceOf, Trial, run_concurrently, with_truncated_time};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A storage without events has no heads, in one segment and in several.
pub(super) async fn an_empty_storage_has_no_heads<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for segment in Segment::split(3).chain([Segment::ALL]) {
        ensure_eq!(storage.heads(segment).await?, vec![], "the heads");
    }
    Ok(())
}

/// `heads` deliver every stream once, however many commits it has.
pub(super) async fn heads_deliver_every_stream_once<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    ensure_heads::<B>(storage.heads(Segment::ALL).await?, &streams)
}

/// A commit is in the heads as soon as its put is answered, through every handle.
pub(super) async fn heads_deliver_what_was_just_stored<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let (storage, other) = (on.open().await, on.open().await);
    let mut streams: Vec<Vec<CommitOf<B>>> = Vec::new();
    for at in 0..6 {
        let chain = on.chain(&*format!("stream {at}"), [1, 2]);
        streams.push(Vec::new());
        for commit in chain {
            storage.stores(&commit).await?;
            streams[at].push(commit);
            ensure_heads::<B>(storage.heads(Segment::ALL).await?, &streams)?;
            ensure_heads::<B>(other.heads(Segment::ALL).await?, &streams)?;
        }
    }
    Ok(())
}

/// `heads` return the keys exactly as they were put.
pub(super) async fn heads_return_keys_unchanged<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let names =
        [("user", "Ada "), ("user", "ada"), ("Имя", "a/b"), ("🙂", "'%_\"\\"), ("a", "b/c"), ("a#b", "c")];
    let streams = names.map(|name| on.chain(name, [1]));
    for stream in &streams {
        storage.stores_all(stream).await?;
    }
    ensure_heads::<B>(storage.heads(Segment::ALL).await?, &streams)
}

/// During writes, `heads` deliver every earlier stream once, with its old or its new head. They deliver a new stream
/// once or not at all.
pub(super) async fn heads_during_writes_deliver_every_stream_once<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams: Vec<_> = (0..600).map(|at| on.commit(&*format!("stream {at}"), 1, 2)).collect();
    stores_concurrently(&storage, &streams).await?;
    let mut pages = storage.storage().heads(Segment::ALL);
    let mut found = pages.try_next().await?.unwrap_or_default();
    // Their names sort before and after those of the others.
    let more = (0..40).flat_map(|at| [format!("a new stream {at}"), format!("yet a new stream {at}")]);
    let more = more.map(|id| on.commit(&*id, 1, 1));
    let longer = streams.iter().step_by(10).map(|commit| on.commit(&commit.key, 3, 1));
    let later: Vec<_> = more.chain(longer).collect();
    stores_concurrently(&storage, &later).await?;
    found.extend(pages.try_collect::<Vec<_>>().await?.concat());
    let found = by_key::<B>(found)?;
    for (key, head) in &found {
        let mut commits = streams.iter().chain(&later).filter(|commit| commit.key == *key);
        ensure!(
            commits.any(|commit| with_truncated_time(commit.head()) == *head),
            "{key:?} never had {head:?}"
        );
    }
    let left_out = streams.iter().find(|commit| !found.contains_key(&commit.key));
    ensure!(left_out.is_none(), "{:?} is left out", left_out.map(|commit| &commit.key));
    Ok(())
}

/// A head equals the answer of `latest`: for commits of one event and of many, in every zone, with the time of the
/// last commit.
pub(super) async fn heads_are_what_latest_answers<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let mut streams = stored(on, &storage, 10).await?;
    let mut earlier = on.draft("back in time", 4, 1);
    earlier.time = on.draft("x", 1, 1).time - std::time::Duration::from_secs(3_600);
    streams.push(on.chain("back in time", [3]).into_iter().chain([earlier.into()]).collect());
    streams.push(on.chain("a long commit", [1, 1_000]));
    streams.push(on.chain("many commits", [1; 12]));
    for stream in &streams[10..] {
        storage.stores_all(stream).await?;
    }
    let heads = storage.heads(Segment::ALL).await?;
    ensure_heads::<B>(heads.clone(), &streams)?;
    for (key, head) in heads {
        ensure_eq!(Some(head), storage.latest(&key).await?, "the head of {key:?}, and `latest`");
    }
    Ok(())
}

/// A head is always the end of a commit.
pub(super) async fn a_head_never_lies_inside_a_commit<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let (storage, reader) = (on.open().await, on.open().await);
    let commits = on.chain("a", [40; 12]);
    let ends: BTreeSet<_> = commits.iter().map(|commit| commit.last()).collect();
    let writer = tokio::spawn(async move { storage.stores_all(&commits).await });
    while !writer.is_finished() {
        for (key, head) in reader.heads(Segment::ALL).await? {
            ensure!(ends.contains(&head.sequence), "{key:?} ends at {:?}, inside a commit", head.sequence);
        }
        tokio::task::yield_now().await;
    }
    writer.await.map_err(|panic| Violation::new(format!("the writer panicked: {panic}")))?
}

/// The segments of one total are disjoint and together complete.
pub(super) async fn heads_of_segments_are_disjoint_and_complete<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams = stored(on, &storage, 40).await?;
    for total in [2, 3, 7, 100] {
        let mut heads = Vec::new();
        for segment in Segment::split(total) {
            heads.extend(storage.heads(segment).await?);
        }
        ensure_heads::<B>(heads, &streams)?;
    }
    Ok(())
}

/// The heads of a segment are those of the streams that a scan of the segment delivers, through every handle.
pub(super) async fn heads_cover_the_streams_of_a_scan<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let (storage, other) = (on.open().await, on.open().await);
    stored(on, &storage, 40).await?;
    for segment in Segment::split(4) {
        let scanned: BTreeSet<_> =
            storage.scan(segment).await?.into_iter().map(|(commit, _)| commit.key.clone()).collect();
        let headed = other.heads(segment).await?.into_iter().map(|(key, _)| key).collect();
        ensure_eq!(scanned, headed, "the streams of the heads, compared with those of a scan of {segment:?}");
    }
    Ok(())
}

/// The heads of 2,000 streams are delivered in pages of at most 1,000 streams.
pub(super) async fn heads_of_many_streams_come_in_several_pages<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let streams: Vec<_> = (0..2_000).map(|at| on.commit(&*format!("stream {at}"), 1, 1)).collect();
    stores_concurrently(&storage, &streams).await?;
    let pages: Vec<_> = storage.storage().heads(Segment::ALL).try_collect().await?;
    let largest = pages.iter().map(Vec::len).max();
    ensure!(largest <= Some(1_000), "a page has the heads of {largest:?} streams");
    let streams: Vec<_> = streams.into_iter().map(|commit| vec![commit]).collect();
    ensure_heads::<B>(pages.concat(), &streams)
}

/// Heads that are dropped early block no other call.
pub(super) async fn heads_may_be_dropped_early<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let mut streams = stored(on, &storage, 40).await?;
    let mut unread = storage.storage().heads(Segment::ALL);
    unread.try_next().await?;
    for _ in 0..100 {
        let mut pages = storage.storage().heads(Segment::ALL);
        ensure!(pages.try_next().await?.is_some(), "the heads have no page");
    }
    let more = on.chain("more", [1, 2]);
    storage.stores_all(&more).await?;
    streams.push(more);
    ensure_heads::<B>(storage.heads(Segment::ALL).await?, &streams)
}

/// An unreadable event, also the last one, hides neither its stream nor another.
pub(super) async fn heads_do_not_decode<B: Backend<Storage: ScanStorage>>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut streams = stored(on, &storage, 10).await?;
    for (at, stream) in streams.iter_mut().enumerate().skip(3).take(4) {
        let number = 1 + stream[stream.len() - 1].last().number();
        let mut unreadable = on.draft(&*format!("stream {at}"), number, 2);
        unreadable.payloads[at % 2] = Sample::Unreadable(Unreadable);
        stream.push(unreadable.into());
        storage.stores(&stream[stream.len() - 1]).await?;
    }
    ensure_heads::<B>(storage.heads(Segment::ALL).await?, &streams)
}

async fn stores_concurrently<B: Backend>(storage: &Handle<B>, commits: &[CommitOf<B>]) -> RuleResult {
    let writers = commits.chunks(50).map(|commits| {
        let (storage, commits) = (storage.clone(), commits.to_vec());
        async move { storage.stores_all(&commits).await }
    });
    run_concurrently(writers).await?.into_iter().collect()
}

/// Expects the heads of exactly `streams`, in any order.
fn ensure_heads<B: Backend>(heads: Vec<HeadOf<B>>, streams: &[Vec<CommitOf<B>>]) -> RuleResult {
    let mut found = by_key::<B>(heads)?;
    for stream in streams {
        let (key, head) = (&stream[0].key, stream[stream.len() - 1].head());
        ensure_eq!(found.remove(key), Some(with_truncated_time(head)), "the head of {key:?}");
    }
    let unknown = found.keys().next();
    ensure!(unknown.is_none(), "there is a head of {unknown:?}, which was never stored");
    Ok(())
}

/// Returns the heads by their keys. Expects each key once.
fn by_key<B: Backend>(heads: Vec<HeadOf<B>>) -> Result<BTreeMap<SampleKey, Head<SequenceOf<B>>>, Violation> {
    let mut found = BTreeMap::new();
    for (key, head) in heads {
        let again = found.insert(key.clone(), with_truncated_time(head));
        ensure!(again.is_none(), "the head of {key:?} was delivered twice");
    }
    Ok(found)
}
