//! A writer that competes for the end of a stream.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::{CommitOf, Put};
use eventsrc_core::stream::Zone;
use eventsrc_core::{Commit, EventStorage, Metadata, Sequence};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A writer of another process: a task that puts a commit on one stream at each interval, until it is stopped.
///
/// Each commit has one event and names its previous commit. After a conflict, the writer waits for the next interval.
/// After an error that leaves the result unknown, it puts the same commit again at the next interval.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use eventsrc_core::clock::SystemClock;
/// use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
/// use eventsrc_testkit::Competitor;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let storage = Arc::new(MemoryStorage::<StreamName, u64, &str>::default());
/// let stream: StreamName = "account/42".parse().unwrap();
/// let interval = Duration::from_millis(1);
/// let competitor = Competitor::start(Arc::clone(&storage), stream.clone(), interval, Arc::new(SystemClock), |_| "mine");
/// while storage.latest(&stream).await.unwrap().is_none() {
///     tokio::task::yield_now().await;
/// }
/// let stored = competitor.stop().await;
/// assert_eq!(storage.latest(&stream).await.unwrap().map(|head| head.sequence), Some(stored));
/// # });
/// ```
#[derive(Debug)]
#[must_use = "a competitor writes until it is stopped or dropped"]
pub struct Competitor {
    stop: watch::Sender<bool>,
    task: JoinHandle<u64>,
}

impl Competitor {
    /// Starts a writer that puts a commit on the stream of `key` at each `interval` of `clock`. `event` returns the event
    /// of each commit; it gets the number of commits that the writer has stored.
    pub fn start<St: EventStorage>(
        storage: St,
        key: St::Key,
        interval: Duration,
        clock: Arc<dyn Clock>,
        event: impl Fn(u64) -> St::Payload + Send + Sync + 'static,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let writer = Writer { storage, key, interval, clock, event, stopped };
        Self { stop, task: tokio::spawn(writer.run()) }
    }

    /// Stops the writer after its current put, and returns the number of commits that it has stored. A commit whose last
    /// put failed is not counted, although it may be stored.
    ///
    /// # Panics
    ///
    /// If the writer panicked.
    pub async fn stop(mut self) -> u64 {
        self.stop.send_replace(true);
        (&mut self.task).await.expect("the competitor does not panic")
    }
}

/// Ends the task, so that a failed test leaves no writer behind.
impl Drop for Competitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Writer<St: EventStorage, F> {
    storage: St,
    key: St::Key,
    interval: Duration,
    clock: Arc<dyn Clock>,
    event: F,
    stopped: watch::Receiver<bool>,
}

impl<St: EventStorage, F: Fn(u64) -> St::Payload> Writer<St, F> {
    async fn run(mut self) -> u64 {
        let ids = Randomness::from_system();
        let (mut stored, mut unsettled) = (0, None);
        loop {
            tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stop| *stop) => return stored,
                () = self.clock.sleep(self.interval) => {}
            }
            let commit = match unsettled.take() {
                Some(commit) => Some(commit),
                None => self.next_commit(&ids, stored).await,
            };
            let Some(commit) = commit else { continue };
            match self.storage.put(Arc::clone(&commit)).await {
                Ok(Put::Stored | Put::Repeated { .. }) => stored += 1,
                Err(error) if !error.kind().stores_nothing() => unsettled = Some(commit),
                Ok(Put::Conflict(_)) | Err(_) => {}
            }
        }
    }

    /// Returns a commit that follows the latest one, or `None` if that cannot be read or the stream is full.
    async fn next_commit(&self, ids: &Randomness, stored: u64) -> Option<Arc<CommitOf<St>>> {
        let head = self.storage.latest(&self.key).await.ok()?;
        let first = St::Sequence::following(head.map(|head| head.sequence), Zone::default())?;
        let previous = head.and_then(|head| head.commit_id);
        let time = self.clock.now();
        let metadata = Metadata::new(ids.commit_id(time));
        let payloads = Vec1::new((self.event)(stored));
        Some(Arc::new(Commit {
            key: self.key.clone(),
            first,
            previous,
            time,
            metadata,
            payloads: payloads.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::SystemClock;
    use eventsrc_core::storage::Page;
    use eventsrc_core::{MemoryStorage, StreamName};
    use futures::TryStreamExt;

    use super::*;
    use crate::faulty::{Faults, Faulty};

    #[tokio::test]
    async fn every_counted_commit_is_stored_once() {
        let storage = Arc::new(MemoryStorage::<StreamName, u64, u64>::default());
        let faults = Faults { failed_before: 0.3, reply_lost: 0.3, ..Faults::none() };
        let faulty = Faulty::new(Arc::clone(&storage), faults, Arc::new(SystemClock));
        let key: StreamName = "account/42".parse().unwrap();
        let clock = Arc::new(SystemClock);
        let interval = Duration::from_micros(100);
        let competitor = Competitor::start(faulty, key.clone(), interval, clock, |stored| stored);
        while storage.latest(&key).await.unwrap().is_none_or(|head| head.sequence < 20) {
            tokio::task::yield_now().await;
        }
        let stored = competitor.stop().await;
        let pages: Vec<_> = storage.events(&key, None).try_collect().await.unwrap();
        let commits: Vec<_> = pages.iter().flat_map(Page::commits).collect();
        let found = commits.len() as u64;
        assert!(found == stored || found == stored + 1, "{found} commits, {stored} counted");
        for (number, commit) in (1..).zip(&commits) {
            assert_eq!((commit.first, commit.payloads[0]), (number, number - 1));
        }
    }
}
