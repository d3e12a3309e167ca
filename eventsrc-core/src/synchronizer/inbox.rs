//! What a worker has at hand of one stream.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::pending_ack::PendingAck;
use super::reorder_buffer::ReorderBuffer;
use super::status::StallReason;
use crate::commit::{Commit, Head};
use crate::retry::Backoff;
use crate::storage::StorageError;
use crate::stream::Sequence;

/// The commits of a stream that are not applied yet, and who waits for them.
#[derive(Debug)]
pub(super) struct Inbox<K, S, E> {
    pub(super) key: K,
    /// Where the view has the stream; `None` if that has to be asked for. Another worker may have moved it since: the view
    /// compares.
    pub(super) position: Option<Option<S>>,
    /// Whether it is among those that are turned to next.
    pub(super) queued: bool,
    /// Commits that have come.
    buffer: ReorderBuffer<K, S, E>,
    /// The stream is known to go up to here.
    known: Option<S>,
    /// When the event there was made, where that is known.
    known_time: Option<Timestamp>,
    /// The stream may go further than is known.
    open: bool,
    acks: Vec<(Option<S>, PendingAck)>,
    waiters: Vec<Waiter<S>>,
    /// Set while the stream is tried again and again.
    pub(super) backoff: Option<Backoff>,
    /// Why the stream does not move, if that is not only a matter of its turn.
    pub(super) stall: Option<StallReason>,
}

#[derive(Debug)]
struct Waiter<S> {
    wanted: S,
    reply: oneshot::Sender<WaitOutcome>,
}

/// What became of a wish to see a stream at a sequence.
#[derive(Debug, Clone)]
pub(super) enum WaitOutcome {
    /// The view has it.
    Reached,
    /// The event storage does not have it.
    NotStored,
    /// The stream is in quarantine.
    Quarantined,
    /// The event storage could not be read.
    Unreadable(Arc<StorageError>),
}

impl<K, S: Sequence, E> Inbox<K, S, E> {
    pub(super) fn new(key: K, position: Option<Option<S>>) -> Self {
        Self {
            key,
            position,
            queued: false,
            buffer: ReorderBuffer::new(),
            known: None,
            known_time: None,
            open: false,
            acks: Vec::new(),
            waiters: Vec::new(),
            backoff: None,
            stall: None,
        }
    }

    /// Adds a commit.
    pub(super) fn add(&mut self, commit: Arc<Commit<K, S, E>>) {
        self.buffer.add(commit);
    }

    /// Keeps the receipt of a delivery that brought the stream up to `last`; `None` for as far as it goes.
    pub(super) fn sign(&mut self, last: Option<S>, ack: &PendingAck) {
        match self.acks.last_mut() {
            Some((signed, held)) if held.is(ack) && signed.is_some() => *signed = last.max(*signed),
            _ => self.acks.push((last, ack.clone())),
        }
    }

    /// Has the storage read for what comes after all that is here.
    pub(super) fn look_further(&mut self) {
        self.open = true;
    }

    /// Has the storage read up to `head`, which is stored.
    pub(super) fn look_up_to(&mut self, head: Head<S>) {
        if self.known < Some(head.sequence) {
            self.known = Some(head.sequence);
            self.known_time = self.known_time.or(Some(head.time));
        }
    }

    /// Has the storage read up to `wanted`, which somebody says is stored, and a reply sent.
    pub(super) fn wait(&mut self, wanted: S, reply: oneshot::Sender<WaitOutcome>) {
        self.waiters.push(Waiter { wanted, reply });
    }

    /// How many events it holds.
    pub(super) fn events(&self) -> usize {
        self.buffer.events()
    }

    /// Whether something is left to do.
    pub(super) fn wants_more(&self) -> bool {
        let behind = self.position.is_none_or(|position| self.known > position);
        behind || self.open || !self.buffer.is_empty() || !self.waiters.is_empty()
    }

    /// The commits that come next, as long as `fits` takes them.
    pub(super) fn run(&self, fits: impl FnMut(&Commit<K, S, E>) -> bool) -> Vec<Arc<Commit<K, S, E>>> {
        self.buffer.run_from(self.number().saturating_add(1), fits)
    }

    /// The number of the last event that the view has, 0 if it has none.
    fn number(&self) -> u64 {
        self.position.flatten().map_or(0, Sequence::number)
    }

    /// Learns where the view has the stream, tells everyone whom that concerns, and gives the number of commits that turn out
    /// to be repeated.
    pub(super) fn reached(&mut self, position: S) -> usize {
        self.position = Some(Some(position));
        let passed = self.buffer.pass(position);
        for (_, ack) in self.acks.extract_if(.., |(last, _)| last.is_some_and(|last| last <= position)) {
            ack.settle();
        }
        for waiter in self.waiters.extract_if(.., |waiter| waiter.wanted <= position) {
            // Nobody may be waiting any more.
            let _ = waiter.reply.send(WaitOutcome::Reached);
        }
        passed
    }

    /// Notes that the storage shows no more than what is here.
    pub(super) fn saw_end(&mut self) {
        self.open = false;
        self.tell(&WaitOutcome::NotStored);
        for (_, ack) in self.acks.extract_if(.., |(last, _)| last.is_none()) {
            ack.settle();
        }
    }

    /// Answers all who wait.
    pub(super) fn tell(&mut self, outcome: &WaitOutcome) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.reply.send(outcome.clone());
        }
    }

    /// Ends the matter: the stream is in quarantine, from which it is read again.
    pub(super) fn quarantined(mut self) {
        self.tell(&WaitOutcome::Quarantined);
        for (_, ack) in self.acks {
            ack.settle();
        }
    }

    /// Forgets commits that are ahead of their turn if they are more than `limit` events: they are stored, and are read when
    /// it comes.
    pub(super) fn forget_beyond(&mut self, limit: usize) {
        if self.buffer.events() > limit
            && let Some(last) = self.buffer.last()
        {
            let head = last.head();
            self.known_time = self.lag().1;
            self.look_up_to(head);
            self.buffer.clear();
        }
    }

    /// How many events the view lacks, as far as is known, and when the oldest of them was made.
    pub(super) fn lag(&self) -> (u64, Option<Timestamp>) {
        let last = self.buffer.last().map(|commit| commit.last());
        let behind = last.max(self.known).map_or(0, Sequence::number).saturating_sub(self.number());
        let oldest = self.buffer.first().map(|commit| commit.time);
        let known = self.known_time.filter(|_| self.known > self.position.flatten());
        (behind, oldest.into_iter().chain(known).min())
    }
}
