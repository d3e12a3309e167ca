//! Contract of an event storage.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::error::StorageError;
use super::page::Page;
use crate::commit::{Commit, Head, Payload};
use crate::stream::{Sequence, StreamKey};

/// Commit as `St` stores it.
pub type CommitOf<St> =
    Commit<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// Page as `St` delivers it.
pub type PageOf<St> =
    Page<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// Some streams of `St`, each with its head.
pub type HeadsOf<St> = Vec<(<St as EventStorage>::Key, Head<<St as EventStorage>::Sequence>)>;

/// Result of a put to `St`.
pub type PutOf<St> =
    Put<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>;

/// Stores the events of many streams, with optimistic concurrency. Every backend for events implements this trait.
///
/// The conformance suite of `eventsrc-testkit` checks each sentence of the contract below; run it on a new backend.
/// [`MemoryStorage`](super::MemoryStorage) is the reference implementation, and short: read it first.
///
/// # Putting
///
/// - A put stores a commit of one or more events if it directly follows the end of its stream.
/// - A commit is stored whole or not at all, and no reader ever sees a part of it.
/// - Of any number of concurrent puts at one sequence, exactly one is stored.
/// - A put at a sequence that another commit holds changes nothing and returns [`Put::Conflict`], never an error.
/// - A conflict carries the commit that holds the sequence, if the backend can return it without another read.
/// - A conflict carries the head of the stream, if the backend can return it without another read.
/// - A put of a commit that is already stored at this sequence, recognised by its commit id, changes nothing and
///   returns [`Put::Repeated`] with the last sequence of the stored commit. This happens after a lost reply or a
///   repeated command.
/// - Streams are independent: a put to one stream does not appear in another, however similar their names are.
/// - A put at a sequence inside a stored commit is a conflict.
/// - A put of a commit beyond the next sequence of its stream is an error of kind `Diverged`: its writer knows events
///   that are not stored here. A stream without events begins at the first sequence.
/// - A put of a commit whose [`previous`](Commit::previous) is not the id of the last stored commit is an error of kind
///   `Diverged`. A commit without a `previous` is not compared.
/// - An error of kind `Diverged` names the stream, the sequence before the commit, and both commit ids as far as they
///   are known; its source is a [`Diverged`](super::Diverged).
/// - A put of a commit that begins before the first sequence or extends past the last one, that has a malformed stream
///   name, or that is the first of its stream and names a previous one, is an error of kind `Invalid`.
/// - A put of a commit whose time, rounded down to the microsecond, is not a time, is an error of kind `Invalid`.
/// - A put of a commit in which an event has no payload or several, because an upcaster dropped or split it, is an error
///   of kind `Invalid`.
/// - A put of the first commit of a stream whose name, `category/id`, has more than 16,384 bytes is an error of kind
///   `Invalid`. A name of up to 1,024 bytes is stored. One in between is stored whole or refused as `Invalid`, as the
///   backend documents.
/// - An error of kind `Invalid`, `Diverged` or `Overloaded` means that the put stored nothing. Any other error means
///   unknown: the commit may or may not be stored. A put of the same commit again settles it.
/// - After a put has returned `Stored` or `Repeated`, every later read sees the commit, from any task or process.
/// - A put may be cancelled: if its future is dropped, the commit is stored whole or not at all.
///
/// # Reading
///
/// - `latest` returns the head of the stream: the last sequence, and the time and id of the last commit. It is `None` for
///   a stream without events.
/// - `recent` returns the heads after each of the last commits, newest first, and at most as many as asked for.
/// - `recent` and `latest` do not decode payloads, so an unreadable event does not stop the writers of its stream.
/// - `events` delivers events in order, without holes or repetitions, in pages of bounded size.
/// - `events` from a sequence starts at exactly that event, even inside a commit, and is empty beyond the end.
/// - `events_after` the end of a commit delivers the same events as `events` from the next sequence.
/// - A read of a stream without events is empty and not an error.
/// - Events are returned as they were put: key, sequence, previous commit, time (to the microsecond), metadata and
///   payload.
/// - A read that has started may or may not see later puts, but never a part of a commit.
/// - An event that cannot be read is an error of kind `Corrupt`, or `Unsupported` if a newer process wrote it in a
///   version or kind that this one does not know. The error names the stream and the sequence. The events before it are
///   delivered first, and no event is skipped silently.
/// - Dropping a stream of events early is allowed and releases its resources.
///
/// A storage therefore always holds a prefix of each stream, and the commits of a stream form a chain. No stored event is
/// ever removed, because a writer that still knows it would fork the stream. Erasure blanks the payload and keeps the
/// rest.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event storage",
    note = "a storage implements `EventStorage`; start from `MemoryStorage`, or wrap one in `Arc` to share it"
)]
pub trait EventStorage: Send + Sync + 'static {
    /// Key of a stream.
    type Key: StreamKey;
    /// Position of an event in its stream.
    type Sequence: Sequence;
    /// Event as the application defines it.
    type Payload: Payload;

    /// Stores `commit` if it directly follows the end of its stream: a conditional write (put-if-absent).
    ///
    /// # Errors
    ///
    /// [`StorageError`]: the commit may or may not be stored, except as the contract says. A conflict is a value, not an
    /// error.
    fn put(
        &self,
        commit: Arc<CommitOf<Self>>,
    ) -> impl Future<Output = Result<PutOf<Self>, StorageError>> + Send;

    /// Returns the heads after each of the last `count` commits of the stream, newest first.
    fn recent(
        &self,
        key: &Self::Key,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Head<Self::Sequence>>, StorageError>> + Send;

    /// Returns the head of the stream, or `None` if it has no events. Calls [`recent`](EventStorage::recent).
    fn latest(
        &self,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Option<Head<Self::Sequence>>, StorageError>> + Send {
        async move { Ok(self.recent(key, 1).await?.pop()) }
    }

    /// Reads the events of the stream in pages, starting at sequence `from` (`None`: at the first event).
    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>>;

    /// Reads the events of the stream in pages, starting after `end`, the last sequence of a commit (`None`: all
    /// events).
    ///
    /// The default calls [`events`](EventStorage::events). A backend overrides it if `events` has to look for a commit
    /// that spans its first sequence, which cannot exist here.
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

/// Event storage that can deliver all its streams, for rebuilds of views and for repair.
///
/// - A scan delivers every event of every stream that was stored when the scan started; it may or may not deliver later
///   ones.
/// - Segments of the same total are disjoint, and together they cover all streams.
/// - Each stream belongs to exactly one segment, and its events are in order, without holes or repetitions.
/// - A page may hold events of several streams, and a stream may continue in a later page, with other streams in
///   between.
/// - An event that cannot be read is an error of kind `Corrupt` or `Unsupported` that names the event, and no event is
///   skipped silently.
/// - `heads` delivers every stream that had events when the call started, once; it may or may not deliver later ones.
/// - The head of a stream is what `latest` returns at some moment after the call of `heads` started.
/// - The heads of a segment are those of the streams that a scan of the same segment delivers.
/// - `heads` delivers pages of bounded size, and dropping them early is allowed.
/// - `heads` does not decode payloads, so an unreadable event hides no stream.
pub trait ScanStorage: EventStorage {
    /// Reads the commits of all streams of `segment`, in pages.
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>>;

    /// Reads the head of every stream of `segment`, in pages and in any order. It costs far less than a scan.
    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>>;
}

/// One of several disjoint parts of a storage that can be scanned in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    index: u32,
    total: u32,
}

impl Segment {
    /// The whole storage as one segment.
    pub const ALL: Self = Self { index: 0, total: 1 };

    /// Returns `total` segments that cover the whole storage. A total of 0 counts as 1.
    pub fn split(total: u32) -> impl Iterator<Item = Self> {
        let total = total.max(1);
        (0..total).map(move |index| Self { index, total })
    }

    /// Returns the index of this segment, starting at 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Returns the number of segments, at least 1.
    pub fn total(self) -> u32 {
        self.total
    }

    /// True if the stream of `key` belongs to this segment, by a hash of its name. Every process computes the same
    /// answer.
    pub(super) fn has<K: StreamKey>(self, key: &K) -> bool {
        let id = key.id();
        let name = key.category().bytes().chain([b'/']).chain(id.bytes());
        // FNV-1a with 64 bits. The multiplication mixes the lower bits badly, so the upper bits decide.
        let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash >> 32) % u64::from(self.total) == u64::from(self.index)
    }
}

/// Result of a put.
#[derive(Debug)]
#[must_use = "a conflict is a value: the commit may not be stored"]
pub enum Put<K, S, E> {
    /// The commit is stored.
    Stored,
    /// An earlier put stored the same commit, and its reply may have been lost. Nothing was changed.
    Repeated {
        /// Last sequence of the stored commit.
        last: S,
    },
    /// Another commit holds the sequence. Nothing was changed.
    Conflict(Conflict<K, S, E>),
}

/// State of the stream that a put conflicted with, as far as the backend returns it without another read.
#[derive(Debug)]
pub struct Conflict<K, S, E> {
    /// Commit that holds the sequence, if the backend returns it.
    pub existing: Option<Arc<Commit<K, S, E>>>,
    /// Head of the stream at the time of the conflict, if the backend returns it.
    pub head: Option<Head<S>>,
}

#[deny(clippy::missing_trait_methods)]
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

    fn recent(
        &self,
        key: &Self::Key,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Head<Self::Sequence>>, StorageError>> + Send {
        St::recent(self, key, count)
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

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> ScanStorage for Arc<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        St::scan(self, segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        St::heads(self, segment)
    }
}
