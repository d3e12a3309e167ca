//! Cancelled calls: futures and streams that are dropped before they end.

use std::sync::Arc;
use std::task::Poll;

use eventsrc_core::EventStorage;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::backend::Backend;
use super::sample::Sample;
use super::trial::{CommitOf, Handle, Trial, run_concurrently};
use super::violation::{RuleResult, Violation, ensure, ensure_eq};

/// A put that is dropped at any point stores its commit completely or not at all. Putting the commit again returns
/// `Stored` or `Repeated`.
pub(super) async fn a_dropped_put_stores_its_commit_whole_or_not_at_all<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    for polls in 0..8 {
        let key = format!("after {polls} polls");
        let commit = on.commit(&*key, 1, 20);
        put_and_drop(&storage, &commit, polls).await;
        let seen = storage.events(&*key, None).await?.len();
        ensure!(seen == 0 || seen == 20, "{seen} of 20 events are stored {key}");
        storage.stores_or_repeats(&commit).await?;
        storage.holds(&*key, &[commit]).await?;
    }
    Ok(())
}

/// A put that is dropped at any point blocks no other writer, on its stream or on another.
pub(super) async fn a_dropped_put_blocks_no_other_call<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for polls in 0..8 {
        let key = format!("after {polls} polls");
        let dropped = on.commit(&*key, 1, 3);
        put_and_drop(&storage, &dropped, polls).await;
        storage.round_trips(&on.chain(&*format!("other {polls}"), [2])).await?;
        storage.stores_or_repeats(&dropped).await?;
        let next = on.commit(&*key, 4, 1);
        storage.stores(&next).await?;
        storage.holds(&*key, &[dropped, next]).await?;
    }
    Ok(())
}

/// Puts that are dropped while other writers continue leave every stream complete.
pub(super) async fn concurrent_dropped_puts_leave_every_stream_complete<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let storage = on.open().await;
    let writers = (0..32usize).map(|writer| {
        let (storage, commits) = (storage.clone(), on.chain(&*format!("{writer}"), [5, 1, 4]));
        async move {
            for commit in &commits {
                put_and_drop(&storage, commit, writer % 5).await;
                storage.stores_or_repeats(commit).await?;
            }
            storage.holds(&commits[0].key, &commits).await
        }
    });
    run_concurrently(writers.collect::<Vec<_>>()).await?.into_iter().collect()
}

/// A stream of events may be dropped before its end, and puts and reads continue.
pub(super) async fn events_may_be_dropped_early<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = long_stream(on);
    storage.stores_all(&stored).await?;
    let mut pages = storage.storage().events(&"a".into(), None);
    let page = pages.try_next().await?.ok_or_else(|| Violation::new("the read returned no page"))?;
    ensure!(!page.is_empty(), "the first page is empty");
    drop(pages);
    let next = stored.len() as u64 + 1;
    stored.push(on.commit("a", next, 1));
    storage.stores(&stored[stored.len() - 1]).await?;
    storage.holds("a", &stored).await
}

/// Streams of events that are dropped early release their resources. 500 of them, ten at a time, do not exhaust the
/// backend.
pub(super) async fn dropped_events_release_their_resources<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = long_stream(on);
    storage.stores_all(&stored).await?;
    let readers = (0..10).map(|reader| {
        let storage = storage.clone();
        async move {
            for read in 0..50 {
                let mut pages = storage.storage().events(&"a".into(), None);
                if read % 3 > 0 {
                    let page = pages.try_next().await?;
                    ensure!(page.is_some(), "read {read} of reader {reader} has no page");
                }
            }
            Ok::<_, Violation>(())
        }
    });
    run_concurrently(readers).await?.into_iter().collect::<RuleResult>()?;
    storage.holds("a", &stored).await
}

/// Streams of events that are not polled further block no put, no `latest` and no other read.
pub(super) async fn unread_events_block_no_other_call<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = long_stream(on);
    storage.stores_all(&stored).await?;
    let mut unread = Vec::new();
    for read in 0..20 {
        let mut pages = storage.storage().events(&"a".into(), None);
        if read % 2 == 0 {
            pages.try_next().await?;
        }
        unread.push(pages);
    }
    let next = stored.len() as u64 + 1;
    stored.push(on.commit("a", next, 2));
    storage.stores(&stored[stored.len() - 1]).await?;
    storage.holds("a", &stored).await?;
    storage.round_trips(&on.chain("b", [1, 1])).await?;
    for pages in unread {
        let ends: Vec<_> = pages.collect().await;
        ensure_eq!(ends.iter().filter(|page| page.is_err()).count(), 0, "reads that failed after a pause");
    }
    Ok(())
}

/// A call of `latest` that is dropped at any point blocks no other call.
pub(super) async fn a_dropped_latest_blocks_no_other_call<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let stored = on.chain("a", [1, 1, 1]);
    for commit in &stored {
        for polls in 0..4 {
            let key = "a".into();
            poll_and_drop(storage.storage().latest(&key), polls).await;
        }
        storage.stores(commit).await?;
    }
    storage.holds("a", &stored).await
}

/// Returns commits of one event that together fill more than one page.
fn long_stream<B: Backend>(on: &Trial<B>) -> Vec<CommitOf<B>> {
    let text = Sample::of_length(on.capabilities().largest_commit.min(80_000));
    (1..=40)
        .map(|number| {
            let mut commit = on.draft("a", number, 1);
            commit.payloads[0] = text.clone();
            Arc::new(commit)
        })
        .collect()
}

async fn put_and_drop<B: Backend>(storage: &Handle<B>, commit: &CommitOf<B>, polls: usize) {
    poll_and_drop(storage.storage().put(Arc::clone(commit)), polls).await;
}

/// Polls the future up to `polls` times, yields after each poll, and drops it.
pub(super) async fn poll_and_drop(future: impl Future, polls: usize) {
    let mut future = Box::pin(future.fuse());
    for _ in 0..polls {
        let ended =
            std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if ended {
            return;
        }
        tokio::task::yield_now().await;
    }
}
