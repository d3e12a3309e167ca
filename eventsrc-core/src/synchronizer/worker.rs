//! One of the workers that keep a view: it brings each of its streams forward by what comes next.

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

/// What a worker is asked to do; the streams are all its own.
pub(super) enum Request<V: ViewStore> {
    /// These commits were stored.
    Commits(Vec<(StreamName, CommitOf<V>)>, PendingAck),
    /// This stream may have grown.
    Look(StreamName, V::Key, PendingAck),
    /// This stream goes up to here.
    Head(StreamName, V::Key, Head<V::Sequence>, PendingAck),
    /// Somebody waits for the view to have this stream up to here.
    Wait(StreamName, V::Key, V::Sequence, oneshot::Sender<WaitOutcome>),
}

type CommitOf<V> = Arc<Commit<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

type InboxOf<V> = Inbox<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

pub(super) struct Worker<V: ViewStore> {
    pub(super) shared: Arc<Shared<V>>,
    index: usize,
    requests: mpsc::Receiver<Request<V>>,
    /// Streams with something to do. Each is among the ready ones, or is delayed.
    pub(super) inboxes: HashMap<StreamName, InboxOf<V>>,
    /// Streams that can be turned to at once, in the order of their turns.
    ready: VecDeque<StreamName>,
    /// Streams that are turned to again later.
    delayed: FuturesUnordered<BoxFuture<'static, StreamName>>,
    /// About how many events are in the inboxes.
    held: usize,
    /// How many events a batch takes at the moment.
    pub(super) events_per_batch: usize,
    /// Set while the view's database cannot be worked with.
    pub(super) backoff: Option<Backoff>,
}

/// How many streams are turned to at once, at most.
const STREAMS_PER_TURN: usize = 4096;

/// How many streams are read from the storage at the same time.
const READS: usize = 16;

/// How often a worker lets others run before it reads.
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
            held: 0,
            events_per_batch: settings.events_per_batch.max(1),
            backoff: None,
            shared,
        }
    }

    /// Works until nobody can ask for more and what can be done is done, or until the view is broken.
    pub(super) async fn run(mut self) {
        while self.gather().await {
            self.turn().await;
            self.report();
            // What cannot be done at the end is left: it is stored, and nothing says that it was dealt with.
            if self.shared.is_broken() || (self.backoff.is_some() && self.shared.is_stopped()) {
                return;
            }
        }
    }

    /// Takes in what was asked for, and waits until there is something to do; false at the end.
    async fn gather(&mut self) -> bool {
        loop {
            if self.shared.is_stopped() {
                self.requests.close();
            }
            self.take_all();
            if !self.ready.is_empty() {
                return true;
            }
            let has_room = self.has_room();
            tokio::select! {
                request = self.requests.recv(), if has_room => match request {
                    Some(request) => self.take(request),
                    None => return false,
                },
                Some(stream) = self.delayed.next() => self.queue(stream),
                () = self.shared.stopped(), if !self.requests.is_closed() => {}
                // Nothing can be asked for any more, and nothing is ready.
                else => return false,
            }
        }
    }

    fn has_room(&self) -> bool {
        self.inboxes.len() < self.shared.settings.remembered_positions.max(1)
            && self.held < self.shared.settings.events_per_batch.saturating_mul(2)
    }

    /// Takes in what was asked for up to here.
    fn take_all(&mut self) {
        while self.has_room()
            && let Ok(request) = self.requests.try_recv()
        {
            self.take(request);
        }
    }

    fn take(&mut self, request: Request<V>) {
        match request {
            Request::Commits(commits, ack) => {
                for (stream, commit) in commits {
                    self.held += commit.len();
                    let last = commit.last();
                    let inbox = self.inbox(stream, &commit.key);
                    inbox.add(commit);
                    inbox.sign(Some(last), &ack);
                }
                ack.settle();
            }
            Request::Look(stream, key, ack) => {
                let inbox = self.inbox(stream, &key);
                inbox.look_further();
                inbox.sign(None, &ack);
                ack.settle();
            }
            Request::Head(stream, key, head, ack) => {
                let inbox = self.inbox(stream, &key);
                inbox.look_up_to(head);
                inbox.sign(Some(head.sequence), &ack);
                ack.settle();
            }
            Request::Wait(stream, key, wanted, reply) => self.inbox(stream, &key).wait(wanted, reply),
        }
    }

    /// The inbox of a stream, which is turned to soon.
    fn inbox(&mut self, stream: StreamName, key: &V::Key) -> &mut InboxOf<V> {
        let inbox = match self.inboxes.entry(stream) {
            Entry::Occupied(inbox) if inbox.get().queued => return inbox.into_mut(),
            Entry::Occupied(inbox) => {
                self.ready.push_back(inbox.key().clone());
                inbox.into_mut()
            }
            Entry::Vacant(place) => {
                self.ready.push_back(place.key().clone());
                let position = self.shared.remembered(place.key());
                place.insert(Inbox::new(key.clone(), position))
            }
        };
        inbox.queued = true;
        inbox
    }

    /// Has a stream turned to, if there is something to do for it.
    fn queue(&mut self, stream: StreamName) {
        if let Some(inbox) = self.inboxes.get_mut(&stream)
            && !inbox.queued
        {
            inbox.queued = true;
            self.ready.push_back(stream);
        }
    }

    /// Brings forward as many of the ready streams as fit into one batch.
    async fn turn(&mut self) {
        let count = self.ready.len().min(STREAMS_PER_TURN);
        let turned: Vec<StreamName> = self.ready.drain(..count).collect();
        for stream in &turned {
            self.inboxes.get_mut(stream).expect("a ready stream has an inbox").queued = false;
        }
        if self.locate(&turned).await {
            self.bring_forward(&turned).await;
        }
        for stream in turned {
            self.put_back(stream);
        }
    }

    async fn bring_forward(&mut self, streams: &[StreamName]) {
        let mut budget =
            BatchBudget { events: self.events_per_batch, bytes: self.shared.settings.bytes_per_batch.max(1) };
        let mut runs = Vec::new();
        let mut unread = self.runs(streams, &mut budget, &mut runs);
        if !unread.is_empty() {
            self.listen().await;
            unread = self.runs(&unread, &mut budget, &mut runs);
        }
        for stream in self.read(unread).await {
            // What was read and does not fit is kept for the next turn.
            runs.extend(run_of(&self.shared, &stream, &self.inboxes[&stream], &mut budget));
        }
        if !runs.is_empty() {
            self.apply(runs).await;
        }
    }

    /// Adds what comes next in these streams, as far as there is room, and gives those of which it is not at hand.
    fn runs(
        &mut self,
        streams: &[StreamName],
        budget: &mut BatchBudget,
        runs: &mut Vec<RunOf<V>>,
    ) -> Vec<StreamName> {
        let mut unread = Vec::new();
        for stream in streams {
            let Some(inbox) = self.inboxes.get_mut(stream) else { continue };
            if let Some(position) = inbox.position.flatten() {
                let repeated = inbox.reached(position);
                self.shared.repeated(repeated);
            }
            if budget.is_full() {
                break;
            }
            match run_of(&self.shared, stream, inbox, budget) {
                Some(run) => runs.push(run),
                None if inbox.wants_more() => unread.push(stream.clone()),
                None => {}
            }
        }
        unread
    }

    /// Takes in what is asked for right now. Who waits for a stream has mostly just written to it, so that the feed is about
    /// to bring what would be read.
    async fn listen(&mut self) {
        for _ in 0..YIELDS_BEFORE_READ {
            if !self.requests.is_empty() {
                break;
            }
            yield_now().await;
        }
        self.take_all();
    }

    /// Finds out where the streams are; those in quarantine are dealt with thereby. False if that could not be done.
    async fn locate(&mut self, streams: &[StreamName]) -> bool {
        let unknown: Vec<StreamName> =
            streams.iter().filter(|stream| self.inboxes[*stream].position.is_none()).cloned().collect();
        if unknown.is_empty() {
            return true;
        }
        let places = match self.shared.view.positions_of(&unknown).await {
            Ok(places) => places,
            Err(error) => {
                self.pause("cannot read positions", error).await;
                return false;
            }
        };
        self.backoff = None;
        for (stream, place) in unknown.iter().zip(places) {
            if !place.quarantined {
                self.shared.remember(stream, place.position);
                self.inboxes.get_mut(stream).expect("a located stream has an inbox").position =
                    Some(place.position);
            } else if let Some(inbox) = self.inboxes.remove(stream) {
                inbox.quarantined();
            }
        }
        true
    }

    /// Reads a page of each of these streams, and gives those of which there is one.
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
                    // There is nothing after the last sequence.
                    Some(None) => Ok(None),
                    from => shared.source.events(&key, from.flatten()).try_next().await,
                };
                (stream, position, page)
            })
            .buffer_unordered(READS)
            .collect()
            .await;
        let mut grown = Vec::new();
        for (stream, position, page) in reads {
            let inbox = self.inboxes.get_mut(&stream).expect("a stream that is read has an inbox");
            match page {
                Ok(Some(page)) => {
                    let whole = page.parts().all(|(commit, places)| places.len() == commit.len());
                    if !whole {
                        let (first, _) = page.parts().next().expect("a page has an event");
                        let (first, error) = (first.first, "the position of the view lies inside a commit");
                        self.quarantine(&stream, position, first, error.into()).await;
                        continue;
                    }
                    inbox.backoff = None;
                    inbox.stall = None;
                    page.commits().iter().for_each(|commit| inbox.add(Arc::clone(commit)));
                    grown.push(stream);
                }
                Ok(None) => {
                    inbox.saw_end();
                    if inbox.wants_more() {
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
                        inbox.tell(&WaitOutcome::Unreadable(Arc::clone(&error)));
                        inbox.stall = Some(StallReason::Unreadable(error));
                        self.delay(stream);
                    }
                },
            }
        }
        grown
    }

    /// Turns to a stream again later.
    fn delay(&mut self, stream: StreamName) {
        let Some(inbox) = self.inboxes.get_mut(&stream) else { return };
        inbox.forget_beyond(self.shared.settings.events_per_batch);
        let retry = &self.shared.settings.retry;
        let backoff = inbox.backoff.get_or_insert_with(|| retry.start());
        let wait = backoff.wait(&self.shared.environment.randomness).max(LEAST_WAIT);
        self.delayed.push(self.shared.environment.clock.sleep(wait).map(|()| stream).boxed());
    }

    /// Keeps a stream that has more to do, or was asked for again meanwhile; it is ready, unless it is tried later anyway.
    fn put_back(&mut self, stream: StreamName) {
        let Some(inbox) = self.inboxes.get(&stream) else { return };
        if inbox.wants_more() {
            if inbox.backoff.is_none() {
                self.queue(stream);
            }
        } else if !inbox.queued {
            self.inboxes.remove(&stream);
        }
    }

    /// Has the position of a stream asked for again.
    pub(super) fn forget(&mut self, stream: &StreamName) {
        self.shared.forget(stream);
        if let Some(inbox) = self.inboxes.get_mut(stream) {
            inbox.position = None;
        }
    }

    /// Puts a stream in quarantine and tells everyone concerned. Where that cannot be recorded, it is tried again.
    pub(super) async fn quarantine(
        &mut self,
        stream: &StreamName,
        position: Option<V::Sequence>,
        sequence: V::Sequence,
        error: String,
    ) {
        self.forget(stream);
        match self.shared.quarantine(stream, position, sequence, error).await {
            // The next turn finds it in quarantine, or moved by another worker.
            Ok(()) => {}
            Err(error) => self.pause("cannot record a quarantine", error).await,
        }
    }

    /// Waits a while because the view's database cannot be worked with.
    pub(super) async fn pause(&mut self, what: &str, error: StorageError) {
        tracing::warn!(view = %self.shared.view.definition(), error = %describe(&error), "{what}; trying again");
        let error = StorageError::new(error.kind(), what).because(error);
        self.shared.reports[self.index].set_last_error(Arc::new(error));
        let retry = &self.shared.settings.retry;
        let backoff = self.backoff.get_or_insert_with(|| retry.start());
        let wait = backoff.wait(&self.shared.environment.randomness).max(LEAST_WAIT);
        let sleep = self.shared.environment.clock.sleep(wait);
        future::select(sleep, Box::pin(self.shared.stopped())).await;
    }

    /// Shows how far this worker is.
    fn report(&mut self) {
        let (mut stalled, mut events, mut oldest) = (Vec::new(), 0, None::<Timestamp>);
        self.held = 0;
        for (stream, inbox) in &self.inboxes {
            self.held += inbox.events();
            let (behind, since) = inbox.lag();
            events += behind;
            oldest = oldest.into_iter().chain(since).min();
            if let Some(reason) = inbox.stall.as_ref().filter(|_| stalled.len() < MOST_SHOWN) {
                let position = inbox.position.flatten();
                stalled.push(StalledStream { stream: stream.clone(), position, reason: reason.clone() });
            }
        }
        self.shared.reports[self.index].set(events, oldest, stalled, self.backoff.is_none());
    }
}

type RunOf<V> = CommitRun<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

fn run_of<V: ViewStore>(
    shared: &Shared<V>,
    stream: &StreamName,
    inbox: &InboxOf<V>,
    budget: &mut BatchBudget,
) -> Option<RunOf<V>> {
    let commits = inbox.run(|commit| budget.takes(commit.len(), shared.environment.weight(commit)));
    let from = inbox.position.flatten();
    (!commits.is_empty()).then(|| CommitRun { stream: stream.clone(), from, commits })
}

/// How many waiting streams a worker shows.
const MOST_SHOWN: usize = 100;

/// Even a lucky draw does not turn waiting into spinning.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// How much more a batch takes.
struct BatchBudget {
    events: usize,
    bytes: usize,
}

impl BatchBudget {
    fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    /// Whether a commit goes in: the last one may go beyond.
    fn takes(&mut self, events: usize, bytes: usize) -> bool {
        if self.is_full() {
            return false;
        }
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
