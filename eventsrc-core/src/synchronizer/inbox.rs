//! State of one stream in a worker.

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

/// Waiting commits of one stream, with the acknowledgements and the readers that wait for them.
#[derive(Debug)]
pub(super) struct Inbox<K, S, E> {
    pub(super) key: K,
    /// Position of the stream in the view; `None` if it must be read. It may be stale because of another process: the
    /// view compares positions.
    pub(super) position: Option<Option<S>>,
    /// True if the stream is in the worker's queue of ready streams.
    pub(super) queued: bool,
    /// Commits that have arrived.
    buffer: ReorderBuffer<K, S, E>,
    /// Last sequence of the stream that is known to be stored.
    known: Option<S>,
    /// Time of the event at `known`, or of an earlier one that is not applied, if it is known.
    known_time: Option<Timestamp>,
    /// True if the stream may have grown beyond `known`.
    may_have_more: bool,
    acks: Vec<(Option<S>, PendingAck)>,
    waiters: Vec<Waiter<S>>,
    /// Set while reads of the stream are retried.
    pub(super) backoff: Option<Backoff>,
    /// Reason for which the stream does not advance, unless it only waits for its turn.
    pub(super) stall: Option<StallReason>,
}

#[derive(Debug)]
struct Waiter<S> {
    wanted: S,
    reply: oneshot::Sender<WaitOutcome>,
}

/// Outcome of waiting until the view has a stream up to a sequence.
#[derive(Debug, Clone)]
pub(super) enum WaitOutcome {
    /// The view has the sequence.
    Reached,
    /// The event storage does not have the sequence.
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
            may_have_more: false,
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

    /// Adds an acknowledgement, to be settled once the view has the stream up to `last`, or up to its end for `None`.
    pub(super) fn add_ack(&mut self, last: Option<S>, ack: &PendingAck) {
        match self.acks.last_mut() {
            Some((until, held)) if held.is_of_same_delivery(ack) && until.is_some() => {
                *until = last.max(*until);
            }
            _ => self.acks.push((last, ack.clone())),
        }
    }

    /// Requests that the stream is read from the storage up to its end.
    pub(super) fn read_to_end(&mut self) {
        self.may_have_more = true;
    }

    /// Requests that the stream is read from the storage up to `head`, which is stored.
    pub(super) fn read_up_to(&mut self, head: Head<S>) {
        if self.known < Some(head.sequence) {
            self.known = Some(head.sequence);
            self.known_time = self.known_time.or(Some(head.time));
        }
    }

    /// Adds a waiter: requests that the stream is read up to `wanted`, which may not be stored, and sends the outcome.
    pub(super) fn add_waiter(&mut self, wanted: S, reply: oneshot::Sender<WaitOutcome>) {
        self.waiters.push(Waiter { wanted, reply });
    }

    /// Number of events of the waiting commits.
    pub(super) fn events(&self) -> usize {
        self.buffer.events()
    }

    /// True if the stream has commits to read or to apply, or waiters.
    pub(super) fn has_work(&self) -> bool {
        let behind = self.position.is_none_or(|position| self.known > position);
        behind || self.may_have_more || !self.buffer.is_empty() || !self.waiters.is_empty()
    }

    /// Returns the commits right after the position, up to the first one for which `fits` is false.
    pub(super) fn next_run(&self, fits: impl FnMut(&Commit<K, S, E>) -> bool) -> Vec<Arc<Commit<K, S, E>>> {
        self.buffer.run_from(self.number().saturating_add(1), fits)
    }

    /// Number of the last event that the view has applied; 0 if there is none.
    fn number(&self) -> u64 {
        self.position.flatten().map_or(0, Sequence::number)
    }

    /// Sets the position, settles acknowledgements and answers waiters up to it. Returns the number of waiting commits
    /// that are already applied.
    pub(super) fn set_position(&mut self, position: S) -> usize {
        self.position = Some(Some(position));
        let passed = self.buffer.pass(position);
        for (_, ack) in self.acks.extract_if(.., |(last, _)| last.is_some_and(|last| last <= position)) {
            ack.settle();
        }
        for waiter in self.waiters.extract_if(.., |waiter| waiter.wanted <= position) {
            // The receiver is gone if the caller has stopped waiting.
            let _ = waiter.reply.send(WaitOutcome::Reached);
        }
        passed
    }

    /// Records that the storage has no more events than the inbox.
    pub(super) fn record_end(&mut self) {
        self.may_have_more = false;
        self.answer_waiters(&WaitOutcome::NotStored);
        for (_, ack) in self.acks.extract_if(.., |(last, _)| last.is_none()) {
            ack.settle();
        }
    }

    /// Sends the outcome to all waiters, and removes them.
    pub(super) fn answer_waiters(&mut self, outcome: &WaitOutcome) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.reply.send(outcome.clone());
        }
    }

    /// Closes the inbox because the stream is in quarantine. After a release, the stream is read from the storage
    /// again.
    pub(super) fn close_quarantined(mut self) {
        self.answer_waiters(&WaitOutcome::Quarantined);
        for (_, ack) in self.acks {
            ack.settle();
        }
    }

    /// Drops all waiting commits if they have more than `limit` events. They are stored, and are read again later.
    pub(super) fn shrink_to(&mut self, limit: usize) {
        if self.buffer.events() > limit
            && let Some(last) = self.buffer.last()
        {
            let head = last.head();
            self.known_time = self.lag().1;
            self.read_up_to(head);
            self.buffer.clear();
        }
    }

    /// Returns the number of events that the view is known to lack, and the time of the oldest of them, if it is known.
    pub(super) fn lag(&self) -> (u64, Option<Timestamp>) {
        let last = self.buffer.last().map(|commit| commit.last());
        let behind = last.max(self.known).map_or(0, Sequence::number).saturating_sub(self.number());
        let oldest = self.buffer.first().map(|commit| commit.time);
        let known = self.known_time.filter(|_| self.known > self.position.flatten());
        (behind, oldest.into_iter().chain(known).min())
    }
}
