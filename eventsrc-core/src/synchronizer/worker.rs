//! A worker of a synchronizer, which applies the commits of its share of the streams.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use super::inbox::{Inbox, WaitOutcome};
use super::pending_ack::PendingAck;
use super::shared::Shared;
use super::status::{StallReason, StalledStream};
use crate::commit::{Commit, Head};
use crate::retry::Backoff;
use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::view::{CommitRun, ViewStore};

/// Request to a worker about streams that it owns.
pub(super) enum Request<V: ViewStore> {
    /// These commits were stored.
    Commits(Vec<(StreamName, CommitOf<V>)>, PendingAck),
    /// This stream may have grown: read it up to its end.
    Hint(StreamName, V::Key, PendingAck),
    /// This stream is stored up to this head: read it up to there.
    Head(StreamName, V::Key, Head<V::Sequence>, PendingAck),
    /// A caller waits until the view has this stream up to this sequence.
    Wait(StreamName, V::Key, V::Sequence, oneshot::Sender<WaitOutcome>),
}

type CommitOf<V> = Arc<Commit<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

type InboxOf<V> = Inbox<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

/// Worker that applies the commits of its share of the streams.
pub(super) struct Worker<V: ViewStore> {
    pub(super) shared: Arc<Shared<V>>,
    index: usize,
    requests: mpsc::Receiver<Request<V>>,
    /// Streams with work. Each is ready or delayed.
    pub(super) inboxes: HashMap<StreamName, InboxOf<V>>,
    /// Streams that can be processed now, in this order.
    ready: VecDeque<StreamName>,
    /// Streams that are processed again after a wait.
    delayed: FuturesUnordered<BoxFuture<'static, StreamName>>,
    /// Approximate number of events in the inboxes.
    held_events: usize,
    /// Current maximum number of events of a batch.
    pub(super) events_per_batch: usize,
    /// Set while the view's database fails.
    pub(super) backoff: Option<Backoff>,
}

/// Maximum number of streams that one round processes.
const STREAMS_PER_ROUND: usize = 4096;

/// Maximum number of concurrent reads from the storage.
const CONCURRENT_READS: usize = 16;

/// Number of times that a worker yields to other tasks before it reads from the storage.
const YIELDS_BEFORE_READ: usize = 4;

impl<V: ViewStore> Worker<V> {
    pub(super) fn new(shared: Arc<Shared<V>>, index: usize, requests: mpsc::Receiver<Request<V>>) -> Self {
        let settings = &shared.settings;
        Self {
            index,
            requests,
            inboxes: HashMap::new(),
            ready: VecDeque::new(),
            delayed: FuturesUnordered::new(),
            held_events: 0,
            events_per_batch: settings.events_per_batch.max(1),
            backoff: None,
            shared,
        }
    }

    /// Works until the request queue is closed and no stream is ready, or until the circuit breaker trips.
    pub(super) async fn run(mut self) {
        while self.wait_for_work().await {
            self.process_ready().await;
            self.report();
            // The remaining commits are stored, and their deliveries stay unacknowledged.
            if self.shared.is_broken() || (self.backoff.is_some() && self.shared.is_stopped()) {
                return;
            }
        }
    }

    /// Accepts requests, and waits until a stream is ready. Returns false at the end.
    async fn wait_for_work(&mut self) -> bool {
        loop {
            if self.shared.is_stopped() {
                self.requests.close();
            }
            self.accept_queued();
            if !self.ready.is_empty() {
                return true;
            }
            let has_room = self.has_room();
            tokio::select! {
                request = self.requests.recv(), if has_room => match request {
                    Some(request) => self.accept(request),
                    None => return false,
                },
                Some(stream) = self.delayed.next() => self.queue(stream),
                () = self.shared.stopped(), if !self.requests.is_closed() => {}
                // The request queue is closed, and no stream is ready.
                else => return false,
            }
        }
    }

    /// True if the worker may accept requests; otherwise their senders wait.
    fn has_room(&self) -> bool {
        self.inboxes.len() < self.shared.settings.remembered_positions.max(1)
            && self.held_events < self.shared.settings.events_per_batch.saturating_mul(2)
    }

    /// Accepts the requests that wait in the queue.
    fn accept_queued(&mut self) {
        while self.has_room()
            && let Ok(request) = self.requests.try_recv()
        {
            self.accept(request);
        }
    }

    fn accept(&mut self, request: Request<V>) {
        match request {
            Request::Commits(commits, ack) => {
                for (stream, commit) in commits {
                    self.held_events += commit.len();
                    let last = commit.last();
                    let inbox = self.inbox(stream, &commit.key);
                    inbox.add(commit);
                    inbox.add_ack(Some(last), &ack);
                }
                ack.settle();
            }
            Request::Hint(stream, key, ack) => {
                let inbox = self.inbox(stream, &key);
                inbox.read_to_end();
                inbox.add_ack(None, &ack);
                ack.settle();
            }
            Request::Head(stream, key, head, ack) => {
                let inbox = self.inbox(stream, &key);
                inbox.read_up_to(head);
                inbox.add_ack(Some(head.sequence), &ack);
                ack.settle();
            }
            Request::Wait(stream, key, wanted, reply) => self.inbox(stream, &key).add_waiter(wanted, reply),
        }
    }

    /// Returns the inbox of a stream, and marks the stream as ready.
    fn inbox(&mut self, stream: StreamName, key: &V::Key) -> &mut InboxOf<V> {
        let inbox = match self.inboxes.entry(stream) {
            Entry::Occupied(inbox) if inbox.get().queued => return inbox.into_mut(),
            Entry::Occupied(inbox) => {
                self.ready.push_back(inbox.key().clone());
                inbox.into_mut()
            }
            Entry::Vacant(vacant) => {
                self.ready.push_back(vacant.key().clone());
                let position = self.shared.cached_position(vacant.key());
                vacant.insert(Inbox::new(key.clone(), position))
            }
        };
        inbox.queued = true;
        inbox
    }

    /// Marks a stream as ready, if it has an inbox.
    fn queue(&mut self, stream: StreamName) {
        if let Some(inbox) = self.inboxes.get_mut(&stream)
            && !inbox.queued
        {
            inbox.queued = true;
            self.ready.push_back(stream);
        }
    }

    /// Processes ready streams in one round: reads positions and commits, and applies one batch.
    async fn process_ready(&mut self) {
        let count = self.ready.len().min(STREAMS_PER_ROUND);
        let streams: Vec<StreamName> = self.ready.drain(..count).collect();
        for stream in &streams {
            self.inboxes.get_mut(stream).expect("a ready stream has an inbox").queued = false;
        }
        if self.load_positions(&streams).await {
            self.advance(&streams).await;
        }
        for stream in streams {
            self.requeue(stream);
        }
    }

    /// Applies the next commits of these streams, after reading those that have not arrived.
    async fn advance(&mut self, streams: &[StreamName]) {
        let mut budget =
            BatchBudget { events: self.events_per_batch, bytes: self.shared.settings.bytes_per_batch.max(1) };
        let mut runs = Vec::new();
        let mut unread = self.collect_runs(streams, &mut budget, &mut runs);
        if !unread.is_empty() {
            self.accept_before_reading().await;
            unread = self.collect_runs(&unread, &mut budget, &mut runs);
        }
        for stream in self.read(unread).await {
            // Commits that were read and do not fit stay in the inbox for the next round.
            runs.extend(run_of(&self.shared, &stream, &self.inboxes[&stream], &mut budget));
        }
        if !runs.is_empty() {
            self.apply(runs).await;
        }
    }

    /// Adds the next commits of these streams to `runs`, within the budget. Returns the streams whose next commit has
    /// not arrived.
    fn collect_runs(
        &mut self,
        streams: &[StreamName],
        budget: &mut BatchBudget,
        runs: &mut Vec<RunOf<V>>,
    ) -> Vec<StreamName> {
        let mut unread = Vec::new();
        for stream in streams {
            let Some(inbox) = self.inboxes.get_mut(stream) else { continue };
            if let Some(position) = inbox.position.flatten() {
                let repeated = inbox.set_position(position);
                self.shared.record_repeated(repeated);
            }
            if budget.is_full() {
                break;
            }
            match run_of(&self.shared, stream, inbox, budget) {
                Some(run) => runs.push(run),
                None if inbox.has_work() => unread.push(stream.clone()),
                None => {}
            }
        }
        unread
    }

    /// Yields to other tasks, and accepts their requests. A caller that waits for a stream has usually just written to
    /// it, so that a feed is likely to deliver the commit that would be read.
    async fn accept_before_reading(&mut self) {
        for _ in 0..YIELDS_BEFORE_READ {
            if !self.requests.is_empty() {
                break;
            }
            yield_now().await;
        }
        self.accept_queued();
    }

    /// Reads the positions that are not known, and closes the inboxes of streams in quarantine. Returns false if the
    /// view's database fails.
    async fn load_positions(&mut self, streams: &[StreamName]) -> bool {
        let unknown: Vec<StreamName> =
            streams.iter().filter(|stream| self.inboxes[*stream].position.is_none()).cloned().collect();
        if unknown.is_empty() {
            return true;
        }
        let positions = match self.shared.view.positions_of(&unknown).await {
            Ok(positions) => positions,
            Err(error) => {
                self.back_off("cannot read positions of the view", error).await;
                return false;
            }
        };
        self.backoff = None;
        for (stream, current) in unknown.iter().zip(positions) {
            if !current.quarantined {
                self.shared.cache_position(stream, current.position);
                self.inboxes.get_mut(stream).expect("a ready stream has an inbox").position =
                    Some(current.position);
            } else if let Some(inbox) = self.inboxes.remove(stream) {
                inbox.close_quarantined();
            }
        }
        true
    }

    /// Reads a page of each of these streams. Returns the streams of which a page was read.
    async fn read(&mut self, streams: Vec<StreamName>) -> Vec<StreamName> {
        let keyed: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                let inbox = &self.inboxes[&stream];
                (inbox.key.clone(), inbox.position.flatten(), stream)
            })
            .collect();
        let shared = &self.shared;
        let reads: Vec<_> = stream::iter(keyed)
            .map(|(key, position, stream)| async move {
                let page = match position.map(|position| position.least_greater()) {
                    // No event follows the last possible sequence.
                    Some(None) => Ok(None),
                    from => shared.source.events(&key, from.flatten()).try_next().await,
                };
                (stream, position, page)
            })
            .buffer_unordered(CONCURRENT_READS)
            .collect()
            .await;
        let mut grown = Vec::new();
        for (stream, position, page) in reads {
            let inbox = self.inboxes.get_mut(&stream).expect("a stream that is read has an inbox");
            match page {
                Ok(Some(page)) => {
                    let whole = page.parts().all(|(commit, indexes)| indexes.len() == commit.len());
                    if !whole {
                        let (first, _) = page.parts().next().expect("a page has an event");
                        let (first, error) = (first.first, "the position of the view is inside a commit");
                        self.quarantine(&stream, position, first, error.into()).await;
                        continue;
                    }
                    inbox.backoff = None;
                    inbox.stall = None;
                    page.commits().iter().for_each(|commit| inbox.add(Arc::clone(commit)));
                    grown.push(stream);
                }
                Ok(None) => {
                    inbox.record_end();
                    if inbox.has_work() {
                        inbox.stall = Some(StallReason::NotShown);
                        self.delay(stream);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt | ErrorKind::Invalid => {
                        let next = V::Sequence::following(position, Default::default());
                        let next = next.or(position).expect("a stream has a first sequence");
                        self.quarantine(&stream, position, next, describe(&error)).await;
                    }
                    _ => {
                        let error = Arc::new(error);
                        inbox.answer_waiters(&WaitOutcome::Unreadable(Arc::clone(&error)));
                        inbox.stall = Some(StallReason::Unreadable(error));
                        self.delay(stream);
                    }
                },
            }
        }
        grown
    }

    /// Schedules the next read of a stream, with backoff.
    fn delay(&mut self, stream: StreamName) {
        let Some(inbox) = self.inboxes.get_mut(&stream) else { return };
        inbox.shrink_to(self.shared.settings.events_per_batch);
        let retry = &self.shared.settings.retry;
        let backoff = inbox.backoff.get_or_insert_with(|| retry.start());
        let wait = backoff.wait(&self.shared.environment.randomness).max(MIN_WAIT);
        self.delayed.push(self.shared.environment.clock.sleep(wait).map(|()| stream).boxed());
    }

    /// Marks a stream that has more work as ready, unless it is delayed. Removes the inbox of a stream without work.
    fn requeue(&mut self, stream: StreamName) {
        let Some(inbox) = self.inboxes.get(&stream) else { return };
        if inbox.has_work() {
            if inbox.backoff.is_none() {
                self.queue(stream);
            }
        } else if !inbox.queued {
            self.inboxes.remove(&stream);
        }
    }

    /// Forgets the position of a stream, so that it is read again.
    pub(super) fn forget_position(&mut self, stream: &StreamName) {
        self.shared.forget_position(stream);
        if let Some(inbox) = self.inboxes.get_mut(stream) {
            inbox.position = None;
        }
    }

    /// Puts a stream in quarantine. If the quarantine cannot be recorded, a later round tries the commit again.
    pub(super) async fn quarantine(
        &mut self,
        stream: &StreamName,
        position: Option<V::Sequence>,
        sequence: V::Sequence,
        error: String,
    ) {
        self.forget_position(stream);
        match self.shared.quarantine(stream, position, sequence, error).await {
            // The next round finds the stream in quarantine, or advanced by another process.
            Ok(()) => {}
            Err(error) => self.back_off("cannot record a quarantine in the view", error).await,
        }
    }

    /// Waits with backoff because the view's database fails.
    pub(super) async fn back_off(&mut self, what: &str, error: StorageError) {
        let view = self.shared.view.definition();
        tracing::warn!(%view, error = %describe(&error), "{what}; retrying with backoff");
        let error = StorageError::new(error.kind(), what).because(error);
        self.shared.reports[self.index].set_last_error(Arc::new(error));
        let retry = &self.shared.settings.retry;
        let backoff = self.backoff.get_or_insert_with(|| retry.start());
        let wait = backoff.wait(&self.shared.environment.randomness).max(MIN_WAIT);
        let sleep = self.shared.environment.clock.sleep(wait);
        future::select(sleep, Box::pin(self.shared.stopped())).await;
    }

    /// Updates the report of this worker.
    fn report(&mut self) {
        let (mut stalled, mut lag_events, mut oldest) = (Vec::new(), 0, None::<Timestamp>);
        self.held_events = 0;
        for (stream, inbox) in &self.inboxes {
            self.held_events += inbox.events();
            let (behind, since) = inbox.lag();
            lag_events += behind;
            oldest = oldest.into_iter().chain(since).min();
            if let Some(reason) = inbox.stall.as_ref().filter(|_| stalled.len() < MAX_STALLED_SHOWN) {
                let position = inbox.position.flatten();
                stalled.push(StalledStream { stream: stream.clone(), position, reason: reason.clone() });
            }
        }
        self.shared.reports[self.index].set(lag_events, oldest, stalled, self.backoff.is_some());
    }
}

type RunOf<V> = CommitRun<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

/// Returns the next commits of a stream, within the budget; `None` if there are none.
fn run_of<V: ViewStore>(
    shared: &Shared<V>,
    stream: &StreamName,
    inbox: &InboxOf<V>,
    budget: &mut BatchBudget,
) -> Option<RunOf<V>> {
    let commits = inbox.next_run(|commit| budget.try_add(commit.len(), shared.environment.weight(commit)));
    let from = inbox.position.flatten();
    (!commits.is_empty()).then(|| CommitRun { stream: stream.clone(), from, commits })
}

/// Maximum number of stalled streams in the report of a worker.
const MAX_STALLED_SHOWN: usize = 100;

/// Minimum wait before a retry, because full jitter may draw zero.
pub(super) const MIN_WAIT: Duration = Duration::from_millis(1);

/// Remaining capacity of a batch.
struct BatchBudget {
    events: usize,
    bytes: usize,
}

impl BatchBudget {
    fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    /// Adds a commit to the batch, unless the batch is full. The last commit may exceed the capacity. Returns false if
    /// the commit was not added.
    fn try_add(&mut self, events: usize, bytes: usize) -> bool {
        if self.is_full() {
            return false;
        }
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
