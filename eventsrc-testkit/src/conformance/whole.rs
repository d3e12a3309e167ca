//! A commit is seen whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::storage::{ScanStorage, Segment};

use super::backend::Backend;
use super::report::{RuleResult, Violation, ensure};
use super::trial::{Handle, Seen, Trial, events_from, same};

const COMMITS: usize = 12;
const EVENTS: usize = 40;

/// A reader beside a writer sees commits whole, and those it saw before.
pub async fn a_reader_never_sees_a_part_of_a_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    beside_a_writer(on, |storage| async move { storage.events("a", None).await }).await
}

/// A reader through another handle sees commits whole.
pub async fn a_reader_through_another_handle_never_sees_a_part<B: Backend>(on: &Trial<B>) -> RuleResult {
    let other = on.open().await;
    beside_a_writer(on, move |_| {
        let other = other.clone();
        async move { other.events("a", None).await }
    })
    .await
}

/// `latest` beside a writer is always the end of a commit, and the events up to there can be read.
pub async fn latest_never_lies_inside_a_commit<B: Backend>(on: &Trial<B>) -> RuleResult {
    beside_a_writer(on, |storage| async move {
        let head = storage.latest("a").await?;
        let mut events = storage.events("a", None).await?;
        events.retain(|(commit, place)| {
            let sequence = commit.events().nth(*place).expect("a place in the commit").sequence();
            head.is_some_and(|head| sequence <= head.sequence)
        });
        let end = events.last().map(|(commit, _)| commit.last());
        ensure!(end == head.map(|head| head.sequence), "latest is {head:?}, and the events end at {end:?}");
        Ok(events)
    })
    .await
}

/// A scan beside a writer sees commits whole.
pub async fn a_scan_never_sees_a_part_of_a_commit<B: Backend<Storage: ScanStorage>>(
    on: &Trial<B>,
) -> RuleResult {
    beside_a_writer(on, |storage| async move { storage.scan(Segment::ALL).await }).await
}

/// Lets a writer store long commits, one after the other, and compares what `read` gives meanwhile.
async fn beside_a_writer<B: Backend, F>(on: &Trial<B>, read: impl Fn(Handle<B>) -> F) -> RuleResult
where
    F: Future<Output = Result<Vec<Seen<B>>, Violation>>,
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
        ensure!(whole, "a reader saw {} events, of {COMMITS} commits of {EVENTS}", events.len());
        seen = events.len();
        same::<B>(&events, &events_from::<B>(&commits[..seen / EVENTS], None))?;
        if last {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.map_err(|panic| Violation::new(panic.to_string()))??;
    ensure!(seen == COMMITS * EVENTS, "the last read saw {seen} events");
    Ok(())
}
