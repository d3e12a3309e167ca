//! The contract of an event storage.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::error::StorageError;
use super::page::Page;
use crate::commit::{Commit, Head, Payload};
use crate::stream::{Sequence, StreamKey};

/// A commit of the streams that `St` stores.
pub type CommitOf<St> =
    Commit<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// A page of the streams that `St` stores.
pub type PageOf<St> =
    Page<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// Some streams that `St` stores, each with its head.
pub type HeadsOf<St> = Vec<(<St as EventStorage>::Key, Head<<St as EventStorage>::Sequence>)>;

/// What a put in `St` comes to.
pub type PutOf<St> =
    Put<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// Keeps the events of many streams. This is what a new backend implements.
///
/// The contract below is checked sentence by sentence by the conformance suite in `eventsrc-testkit`; run it on
/// your backend before you trust it. [`MemoryStorage`] is the reference, and short: read it first.
///
/// # Putting
///
/// - A put stores a commit of one or more events at its first sequence if nothing is stored there.
/// - A commit is stored whole or not at all, and no reader ever sees a part of it.
/// - Of any number of racing puts at one sequence, exactly one is stored.
/// - A put at a taken sequence changes nothing and is a [`Put::Conflict`], never an error.
/// - A conflict carries the commit in the way where the backend has it at hand.
/// - A conflict carries the head of the stream where the backend has it at hand.
/// - A put of a commit that is already stored there, known by its commit id, is [`Put::Repeated`] with the last sequence
///   that is stored, and changes nothing: a reply was lost, or a command sent twice.
/// - Streams are independent: a put on one is not seen on another, whatever their names share.
/// - A put inside a stored commit is a conflict, where the backend can see it.
/// - A put that would leave a hole after the stored events is an error of kind `Invalid`, where the backend can see it.
///   (A stream that is empty *here* may begin at any sequence: its beginning may be in another storage, see [`Merged`].)
/// - A commit that runs past the last sequence is an error of kind `Invalid`, and so is a malformed stream name.
/// - An `Err` from a put means unknown: it may be stored. Putting the same commit again settles it.
/// - When a put has answered `Stored` or `Repeated`, every later read sees the commit, from any task or process.
/// - A caller that stops waiting for a put does no harm: the commit is stored whole or not at all.
///
/// # Reading
///
/// - `latest` is the last sequence of the last commit and its time, or `None` for a stream without events.
/// - `latest` does not decode payloads, so that an unreadable event does not stop its stream's writers.
/// - `events` are in order, without holes or repetitions, in pages of a bounded size.
/// - `events` from a sequence begin at that very event, also inside a commit; from beyond the end they are empty.
/// - `events_after` the end of a commit are what `events` from the next sequence are.
/// - A stream without events reads as empty, which is no error.
/// - Events come back as they were put: key, sequence, time (to the microsecond), metadata and payload.
/// - `events` that have begun may or may not see later puts, but never a part of a commit.
/// - An event that cannot be read is an error of kind `Corrupt` that names the stream and the sequence; what lies
///   before it is delivered first, and nothing is left out in silence.
/// - Dropping a stream of events early is allowed, and frees what it holds.
///
/// Nothing removes a key: a writer that knew it would fork the stream. Erasure blanks the payload and keeps the rest.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not keep events",
    note = "a storage implements `EventStorage`; start from `MemoryStorage`, or wrap one in `Arc` to share it"
)]
pub trait EventStorage: Send + Sync + 'static {
    /// What names a stream.
    type Key: StreamKey;
    /// The position of an event in its stream.
    type Sequence: Sequence;
    /// The event itself.
    type Payload: Payload;

    /// Stores `commit` if nothing is stored at its first sequence.
    fn put(
        &self,
        commit: Arc<CommitOf<Self>>,
    ) -> impl Future<Output = Result<PutOf<Self>, StorageError>> + Send;

    /// The head of the stream, or `None` if it has no events.
    fn latest(
        &self,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Option<Head<Self::Sequence>>, StorageError>> + Send;

    /// The events of the stream, from `from` on (`None`: from the first), page by page.
    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>>;

    /// The events of the stream after `end`, which is the last sequence of a commit (`None`: all of them), page by page.
    ///
    /// A backend for which it costs something to look for a commit that goes on past `end` says so by a way of its own.
    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match end.map(Sequence::least_greater) {
            None => self.events(key, None),
            Some(Some(from)) => self.events(key, Some(from)),
            // The stream is full.
            Some(None) => stream::empty().boxed(),
        }
    }
}

/// A storage that can hand over all its streams, for replay and for repair.
///
/// - A scan delivers every event of every stream that was stored when it began; later ones may be seen or not.
/// - The segments of one total are disjoint, and together they are everything.
/// - A stream lies in one segment as a whole, and its events come in order, without holes or repetitions.
/// - A page may hold several streams, and a stream may go on in a later page, with others in between.
/// - An event that cannot be read is an error of kind `Corrupt` that names it; nothing is left out in silence.
/// - `heads` deliver every stream that had events when they began, once; later ones may be seen or not.
/// - A stream's head is what `latest` answers, at some time after the heads began.
/// - The heads of a segment are those of the streams that a scan of the same segment delivers.
/// - `heads` come in pages of a bounded size, and dropping them early is allowed.
/// - `heads` do not decode payloads, so that an unreadable event hides no stream.
pub trait ScanStorage: EventStorage {
    /// The commits of all streams of `segment`, page by page.
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>>;

    /// The head of every stream of `segment`, page by page, in any order. It costs far less than a scan.
    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>>;
}

/// One of several parts of a storage that are scanned side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    index: u32,
    total: u32,
}

impl Segment {
    /// Everything in one segment.
    pub const ALL: Self = Self { index: 0, total: 1 };

    /// Everything in `total` segments (0 counts as 1).
    pub fn split(total: u32) -> impl Iterator<Item = Self> {
        let total = total.max(1);
        (0..total).map(move |index| Self { index, total })
    }

    /// Which of the segments this is, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many segments there are, at least 1.
    pub fn total(self) -> u32 {
        self.total
    }

    /// Whether the segment has the stream of `key`, for storages that go by the name alone: the same in every process.
    pub(super) fn has<K: StreamKey>(self, key: &K) -> bool {
        let id = key.id();
        let name = key.category().bytes().chain([b'/']).chain(id.bytes());
        // FNV-1a of 64 bits. The product does not mix its lower bits well, so the upper ones decide.
        let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash >> 32) % u64::from(self.total) == u64::from(self.index)
    }
}

/// What a put came to.
#[derive(Debug)]
#[must_use = "a conflict is a value: the commit may not be stored"]
pub enum Put<K, S, E> {
    /// The commit is stored.
    Stored,
    /// The commit was stored before this put, by an earlier one whose reply may have been lost.
    Repeated {
        /// The sequence of its last event.
        last: S,
    },
    /// Another commit is in the way; nothing was changed.
    Conflict(Conflict<K, S, E>),
}

/// What is known of the stream that a put collided with.
#[derive(Debug)]
pub struct Conflict<K, S, E> {
    /// The commit that holds the sequence, where the backend has it at hand.
    pub existing: Option<Arc<Commit<K, S, E>>>,
    /// The head of the stream at the time of the conflict, where the backend has it at hand.
    pub head: Option<Head<S>>,
}

impl<St: EventStorage> EventStorage for Arc<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    fn put(
        &self,
        commit: Arc<CommitOf<Self>>,
    ) -> impl Future<Output = Result<PutOf<Self>, StorageError>> + Send {
        St::put(self, commit)
    }

    fn latest(
        &self,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Option<Head<Self::Sequence>>, StorageError>> + Send {
        St::latest(self, key)
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        St::events(self, key, from)
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        St::events_after(self, key, end)
    }
}

impl<St: ScanStorage> ScanStorage for Arc<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        St::scan(self, segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        St::heads(self, segment)
    }
}
