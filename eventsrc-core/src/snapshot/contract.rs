//! The contract of a snapshot storage.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commit::Head;
use crate::storage::StorageError;
use crate::stream::Sequence;

/// A folded value, and the last event that was folded into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<S, V> {
    /// The value; `None` if the fold has none here, or deleted it.
    pub value: Option<V>,
    /// The last event folded, whether or not it changed the value; `None` before the first.
    pub head: Option<Head<S>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inside_commit: bool,
}

impl<S: Sequence, V> Snapshot<S, V> {
    /// The value after the commit that ends at `head`, or before any event.
    pub fn new(value: Option<V>, head: Option<Head<S>>) -> Self {
        Self { value, head, inside_commit: false }
    }

    /// The value before any event.
    pub fn initial(value: Option<V>) -> Self {
        Self::new(value, None)
    }

    /// Moves on to the event at `head`, after which its commit may go on.
    pub(crate) fn reach(&mut self, head: Head<S>, inside_commit: bool) {
        self.head = Some(head);
        self.inside_commit = inside_commit;
    }

    /// Whether the last event folded is not the last of its commit, as may be with a value of the past.
    pub fn is_inside_commit(&self) -> bool {
        self.inside_commit
    }

    /// The sequence of the last event folded.
    pub fn sequence(&self) -> Option<S> {
        self.head.map(|head| head.sequence)
    }

    /// The time of the last event folded.
    pub fn time(&self) -> Option<Timestamp> {
        self.head.map(|head| head.time)
    }

    /// The last event folded, if a storage is to keep the snapshot.
    pub fn to_keep(&self) -> Option<Head<S>> {
        self.head.filter(|_| !self.inside_commit)
    }

    /// Whether there are events and yet no value.
    pub fn is_deleted(&self) -> bool {
        self.value.is_none() && self.head.is_some()
    }

    /// The same snapshot with another value.
    pub fn map<V2>(self, map: impl FnOnce(V) -> V2) -> Snapshot<S, V2> {
        Snapshot { value: self.value.map(map), head: self.head, inside_commit: self.inside_commit }
    }
}

/// Keeps folded values, for one kind of query.
///
/// Snapshots save reads and nothing else: a query answers the same with a storage that lost them all, or never had
/// any, which is what [`NoSnapshots`] is. They are kept apart from the stream and are on no write path.
///
/// - A snapshot is found under the query key and the fold version that it was put with, and under no other.
/// - Query keys are independent, and so are storages of different names that share a file or a table.
/// - `Latest` is the one with the greatest sequence, `Earliest` the one with the least, and `Before(s)` the greatest
///   of those with a sequence less than `s`.
/// - What is not there is `None`, which is no error.
/// - A snapshot comes back as it was put: value or deletion, sequence and time (to the microsecond).
/// - A put with mode `Cache` replaces the cached snapshot of the key unless that one has a greater sequence: a slow
///   writer never sets a cache back.
/// - A put with mode `Epoch` keeps the snapshot beside all others; at a sequence that has one already, it replaces it.
/// - A cached snapshot never replaces an epoch, nor an epoch a cached one of another sequence.
/// - A snapshot of no event is not kept, and neither is one inside a commit: putting it does nothing.
/// - A snapshot that cannot be read is an error of kind `Corrupt`; the query that meets it folds from the events.
/// - Any number of tasks may put and get at once.
pub trait SnapshotStorage: Send + Sync + 'static {
    /// What is asked for; a query's key.
    type Key: Send + Sync;
    /// The sequence of the streams that were folded.
    type Sequence: Sequence;
    /// The folded value.
    type Value: Send + Sync;

    /// The snapshot of `key` that `which` asks for, among those that version `version` of the fold made.
    fn get(
        &self,
        key: &Self::Key,
        version: u32,
        which: SnapshotAt<Self::Sequence>,
    ) -> impl Future<Output = Result<Option<Snapshot<Self::Sequence, Self::Value>>, StorageError>> + Send;

    /// Keeps `snapshot`, which version `version` of the fold made.
    fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// Which of a key's snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotAt<S> {
    /// The one with the least sequence.
    Earliest,
    /// The one with the greatest sequence.
    Latest,
    /// The greatest before this sequence.
    Before(S),
}

/// How long a snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotMode {
    /// Until a later one is cached: one a key, for reading the latest value.
    Cache,
    /// For good: many a key, for reading values of long ago.
    Epoch,
}

/// The storage that keeps nothing; every fold begins at the first event.
pub struct NoSnapshots<K, S, V>(std::marker::PhantomData<fn(K, S) -> V>);

impl<K: Send + Sync + 'static, S: Sequence, V: Send + Sync + 'static> SnapshotStorage
    for NoSnapshots<K, S, V>
{
    type Key = K;
    type Sequence = S;
    type Value = V;

    async fn get(&self, _: &K, _: u32, _: SnapshotAt<S>) -> Result<Option<Snapshot<S, V>>, StorageError> {
        Ok(None)
    }

    async fn put(&self, _: &K, _: u32, _: &Snapshot<S, V>, _: SnapshotMode) -> Result<(), StorageError> {
        Ok(())
    }
}

impl<K, S, V> Default for NoSnapshots<K, S, V> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<Sn: SnapshotStorage> SnapshotStorage for Arc<Sn> {
    type Key = Sn::Key;
    type Sequence = Sn::Sequence;
    type Value = Sn::Value;

    fn get(
        &self,
        key: &Self::Key,
        version: u32,
        which: SnapshotAt<Self::Sequence>,
    ) -> impl Future<Output = Result<Option<Snapshot<Self::Sequence, Self::Value>>, StorageError>> + Send
    {
        Sn::get(self, key, version, which)
    }

    fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> impl Future<Output = Result<(), StorageError>> + Send {
        Sn::put(self, key, version, snapshot, mode)
    }
}
