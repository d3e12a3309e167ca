//! Callers that stop waiting.

use std::sync::Arc;
use std::task::Poll;

use eventsrc_core::EventStorage;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::backend::Backend;
use super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::sample::Sample;
use super::trial::{CommitOf, Handle, Trial, together};

/// A put that is dropped at any point stores its commit whole or not at all, and putting it again settles it.
pub async fn a_dropped_put_stores_its_commit_whole_or_not_at_all<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for polls in 0..8 {
        let key = format!("after {polls} polls");
        let commit = on.commit(&*key, 1, 20);
        put_and_drop(&storage, &commit, polls).await;
        let seen = storage.events(&*key, None).await?.len();
        ensure!(seen == 0 || seen == 20, "{seen} of 20 events are stored {key}");
        storage.settles(&commit).await?;
        storage.holds(&*key, &[commit]).await?;
    }
    Ok(())
}

/// A put that is dropped at any point does not hold up other writers, of its stream and of others.
pub async fn a_dropped_put_holds_nobody_up<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    for polls in 0..8 {
        let key = format!("after {polls} polls");
        let dropped = on.commit(&*key, 1, 3);
        put_and_drop(&storage, &dropped, polls).await;
        storage.keeps(&on.chain(&*format!("beside {polls}"), [2])).await?;
        storage.settles(&dropped).await?;
        let next = on.commit(&*key, 4, 1);
        storage.stores(&next).await?;
        storage.holds(&*key, &[dropped, next]).await?;
    }
    Ok(())
}

/// Puts that are dropped while others go on leave every stream whole.
pub async fn puts_dropped_among_others_leave_every_stream_whole<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let writers = (0..32usize).map(|writer| {
        let (storage, commits) = (storage.clone(), on.chain(&*format!("{writer}"), [5, 1, 4]));
        async move {
            for commit in &commits {
                put_and_drop(&storage, commit, writer % 5).await;
                storage.settles(commit).await?;
            }
            storage.holds(&commits[0].key, &commits).await
        }
    });
    together(writers.collect::<Vec<_>>()).await?.into_iter().collect()
}

/// Dropping a stream of events before its end is allowed, and puts and reads go on.
pub async fn events_may_be_dropped_early<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = long_stream(on);
    storage.stores_all(&stored).await?;
    let mut pages = storage.storage().events(&"a".into(), None);
    let page = pages.try_next().await?.ok_or_else(|| Violation::new("there is no page"))?;
    ensure!(!page.is_empty(), "the first page is empty");
    drop(pages);
    let next = stored.len() as u64 + 1;
    stored.push(on.commit("a", next, 1));
    storage.stores(&stored[stored.len() - 1]).await?;
    storage.holds("a", &stored).await
}

/// Streams of events that are dropped early free what they hold: 500 of them, ten at a time, do not use it up.
pub async fn dropped_events_free_what_they_hold<B: Backend>(on: &Trial<B>) -> RuleResult {
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
    together(readers).await?.into_iter().collect::<RuleResult>()?;
    storage.holds("a", &stored).await
}

/// Streams of events that nobody reads on from hold up no put, no `latest` and no other read.
pub async fn events_that_wait_hold_nobody_up<B: Backend>(on: &Trial<B>) -> RuleResult {
    let storage = on.open().await;
    let mut stored = long_stream(on);
    storage.stores_all(&stored).await?;
    let mut waiting = Vec::new();
    for begun in 0..20 {
        let mut pages = storage.storage().events(&"a".into(), None);
        if begun % 2 == 0 {
            pages.try_next().await?;
        }
        waiting.push(pages);
    }
    let next = stored.len() as u64 + 1;
    stored.push(on.commit("a", next, 2));
    storage.stores(&stored[stored.len() - 1]).await?;
    storage.holds("a", &stored).await?;
    storage.keeps(&on.chain("b", [1, 1])).await?;
    for pages in waiting {
        let ends: Vec<_> = pages.collect().await;
        ensure_eq!(ends.iter().filter(|page| page.is_err()).count(), 0, "reads that waited and then failed");
    }
    Ok(())
}

/// `latest` that is dropped at any point holds nobody up.
pub async fn a_dropped_latest_holds_nobody_up<B: Backend>(on: &Trial<B>) -> RuleResult {
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

/// Commits of one event that together are more than a page or two.
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

/// Polls so often, with other tasks in between, and drops the future.
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
