//! The defects of the storage.

use std::sync::Arc;

use eventsrc_core::storage::Segment;
use eventsrc_core::{Head, StorageError};
use eventsrc_testkit::conformance::SampleKey;

use super::{Answer, C, Commits, Heads, S, Streams};

/// A defect of the storage.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// No defect.
    None,
    /// It replaces the name of the stream.
    Name(fn(&SampleKey) -> SampleKey),
    /// It stores something else than was put.
    Keep(fn(&mut C)),
    /// It answers some puts itself.
    Put(fn(&mut Streams, &Arc<C>) -> Option<Answer>),
    /// It changes its answers.
    Answer(fn(&Streams, &Arc<C>, Answer) -> Answer),
    /// It changes the position from which a read goes on after a commit.
    After(fn(Option<S>) -> Option<S>),
    /// It changes the head of a stream.
    Latest(fn(&[Arc<C>]) -> Result<Option<Head<S>>, StorageError>),
    /// It changes the heads after the last commits of a stream.
    Recent(fn(&[Arc<C>], usize) -> Result<Vec<Head<S>>, StorageError>),
    /// It changes the commits of a read, or its position.
    Read(fn(Commits, Option<S>) -> (Commits, Option<S>)),
    /// It fails some reads.
    FailRead(fn(&Streams, &SampleKey, Option<S>) -> bool),
    /// It changes the error of an unreadable event, or omits it.
    Unreadable(fn(&C, usize) -> Option<StorageError>),
    /// It changes the commits of a scan.
    Scan(fn(&Streams, Segment) -> Commits),
    /// It changes the heads of all streams.
    Heads(fn(&Streams, Segment) -> Heads),
    /// It pages through heads by the number of streams.
    HeadsByCount,
    /// It stores events one by one, visible to readers.
    TornEvents,
    /// Its head advances while the events are being stored.
    TornLatest,
    /// It checks that the sequence is free, and stores later.
    CheckThenStore,
    /// A handle reads what was stored when it was opened, and what it put itself.
    StaleReads,
    /// A handle's `latest` is the head of its first call.
    StaleLatest,
    /// A handle compares puts with what it read or put itself.
    StalePuts,
    /// A handle recognises only its own repeated puts.
    OwnRepeats,
    /// Commits of a handle are removed when it is dropped.
    LostWithTheHandle,
    /// A read shows the state of the read before it.
    LateReads,
    /// Another task sees a commit only after the next one is stored.
    HiddenFromOtherTasks,
    /// A cancelled put keeps the lock.
    DroppedPutKeepsLock,
    /// A cancelled `latest` keeps the lock.
    DroppedLatestKeepsLock,
    /// A read keeps the lock of the writers until it is at its end, even if it is cancelled.
    ReadKeepsLockToItsEnd,
    /// A read keeps the lock of the writers until it is dropped.
    ReadKeepsLock,
    /// A cancelled read never returns its permit; there are 100.
    DroppedReadsAreLost,
    /// More than 3 concurrent readers are refused.
    FewReaders,
    /// Everything comes in one page.
    OnePage,
    /// A read that meets new commits starts again at its beginning.
    ReadBeginsAnew,
    /// Later pages of a read or scan show only the beginning of commits that were stored during it.
    LaterPagesAreTorn,
    /// Reading a stream creates it, and a created stream takes no first commit.
    ReadsMakeStreams,
}
