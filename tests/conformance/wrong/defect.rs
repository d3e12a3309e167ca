//! The ways in which the storage can be wrong.

use std::sync::Arc;

use eventsrc_core::storage::Segment;
use eventsrc_core::{Head, StorageError};
use eventsrc_testkit::conformance::SampleKey;

use super::{Answer, C, Commits, Heads, S, Streams};

/// In which way the storage is wrong.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// In none.
    None,
    /// It takes one stream for another.
    Name(fn(&SampleKey) -> SampleKey),
    /// It keeps something else than what was put.
    Keep(fn(&mut C)),
    /// It answers some puts by itself.
    Put(fn(&mut Streams, &Arc<C>) -> Option<Answer>),
    /// It changes its answers.
    Answer(fn(&Streams, &Arc<C>, Answer) -> Answer),
    /// It reads from elsewhere after the end of a commit.
    After(fn(Option<S>) -> Option<S>),
    /// It has other ideas of a stream's head.
    Latest(fn(&[Arc<C>]) -> Result<Option<Head<S>>, StorageError>),
    /// It reads other commits, or from elsewhere.
    Read(fn(Commits, Option<S>) -> (Commits, Option<S>)),
    /// It fails some reads.
    FailRead(fn(&Streams, &SampleKey, Option<S>) -> bool),
    /// It has other errors for an event that cannot be read, or none.
    Unreadable(fn(&C, usize) -> Option<StorageError>),
    /// It scans other commits.
    Scan(fn(&Streams, Segment) -> Commits),
    /// It has other ideas of all streams' heads.
    Heads(fn(&Streams, Segment) -> Heads),
    /// It finds the next page of heads by counting streams.
    HeadsByCount,
    /// It stores events one by one, in sight of readers.
    TornEvents,
    /// Its head moves on while the events are being stored.
    TornLatest,
    /// It looks whether the place is free, and stores later.
    CheckThenStore,
    /// A handle reads what was there when it was opened, and what it put itself.
    StaleReads,
    /// A handle's `latest` is what it was when it first asked.
    StaleLatest,
    /// A handle judges puts by what it read or put itself.
    StalePuts,
    /// A handle recognises only what it put itself.
    OwnRepeats,
    /// What a handle stored goes when it goes.
    LostWithTheHandle,
    /// A read shows what there was at the read before.
    LateReads,
    /// Another task sees a commit only when the next is stored.
    HiddenFromOtherTasks,
    /// A put that is dropped keeps the lock.
    DroppedPutKeepsLock,
    /// A `latest` that is dropped keeps the lock.
    DroppedLatestKeepsLock,
    /// A read keeps the lock of the writers until it is at its end, also if it is dropped.
    ReadKeepsLockToItsEnd,
    /// A read keeps the lock of the writers for as long as it lives.
    ReadKeepsLock,
    /// A read that is dropped is never given back; there are 100.
    DroppedReadsAreLost,
    /// More than 3 readers at once are refused.
    FewReaders,
    /// All comes in one page.
    OnePage,
    /// A read that meets new commits begins anew.
    ReadBeginsAnew,
    /// Later pages of a read or scan show the beginning of commits that came meanwhile.
    LaterPagesAreTorn,
    /// Reading a stream makes it, and a stream that was made begins at its first sequence.
    ReadsMakeStreams,
}
