//! Atomicity of commits for readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::storage::{ScanStorage, Segment};

use super::backend::Backend;
use super::trial::{Handle, ReadEvent, Trial, ensure_same_events, events_from};
use super::violation::{RuleResult, Violation, ensure};

const COMMITS: usize = 12;
const EVENTS: usize = 40;

/// A reader that runs concurrently with a writer sees only complete commits, and each that it saw before.
pub(super) async fn a_reader_never_sees_a_part_of_a_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    read_during_writes(on, |storage| async move { storage.events("a", None).await }).await
}

/// A reader through another handle sees only complete commits.
pub(super) async fn a_reader_through_another_handle_never_sees_a_part<B: Backend>(
    on: &Trial<B>,
) -> RuleResult {
    let other = on.open().await;
    read_during_writes(on, move |_| {
        let other = other.clone();
        async move { other.events("a", None).await }
    })
    .await
}

/// During writes, `latest` is always the end of a commit, and the events up to it can be read.
pub(super) async fn latest_never_lies_inside_a_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    read_during_writes(on, |storage| async move {
        let head = storage.latest("a").await?;
        let mut events = storage.events("a", None).await?;
        events.retain(|(commit, index)| {
            let sequence = commit.events().nth(*index).expect("the index is in the commit").sequence();
            head.is_some_and(|head| sequence <= head.sequence)
        });
        let end = events.last().map(|(commit, _)| commit.last());
        ensure!(end == head.map(|head| head.sequence), "latest is {head:?}, and the events end at {end:?}");
        Ok(events)
    })
    .await
}

/// A scan that runs concurrently with a writer sees only complete commits.
pub(super) async fn a_scan_never_sees_a_part_of_a_commit<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    read_during_writes(on, |storage| async move { storage.scan(Segment::ALL).await }).await
}

/// Calls `read` repeatedly while a writer stores long commits, and checks each result.
async fn read_during_writes<B: Backend, F>(on: &Trial<B>, read: impl Fn(Handle<B>) -> F) -> RuleResult
where
    F: Future<Output = Result<Vec<ReadEvent<B>>, Violation>>,
{
    let storage = on.open().await;
    let commits = on.chain("a", [EVENTS; COMMITS]);
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (storage, commits, done) = (storage.clone(), commits.clone(), Arc::clone(&done));
        async move {
            let mut stored = Ok(());
            for commit in &commits {
                stored = stored.and(storage.stores(commit).await);
                tokio::task::yield_now().await;
            }
            done.store(true, Ordering::SeqCst);
            stored
        }
    });
    let mut seen = 0;
    loop {
        let last = done.load(Ordering::SeqCst);
        let events = read(storage.clone()).await?;
        ensure!(events.len() >= seen, "a reader saw {seen} events, and then {}", events.len());
        let whole = events.len() % EVENTS == 0 && events.len() <= COMMITS * EVENTS;
        ensure!(whole, "a reader saw {} events of {COMMITS} commits of {EVENTS} events each", events.len());
        seen = events.len();
        ensure_same_events::<B>(&events, &events_from::<B>(&commits[..seen / EVENTS], None))?;
        if last {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.map_err(|panic| Violation::new(panic.to_string()))??;
    ensure!(seen == COMMITS * EVENTS, "the last read saw {seen} events");
    Ok(())
}
