//! Contract of a snapshot storage.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commit::Head;
use crate::storage::StorageError;
use crate::stream::Sequence;

/// Folded value at a sequence: no event yet, a value, or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<S, V> {
    /// Folded value; `None` if the fold has no value yet, or deleted it.
    pub value: Option<V>,
    /// Sequence of the last folded event, even if it did not change the value, and its commit; `None` before the first
    /// event.
    pub head: Option<Head<S>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inside_commit: bool,
}

impl<S: Sequence, V> Snapshot<S, V> {
    /// Creates the snapshot after the commit that ends at `head`, or before any event.
    pub fn new(value: Option<V>, head: Option<Head<S>>) -> Self {
        Self { value, head, inside_commit: false }
    }

    /// Creates the snapshot before any event.
    pub fn initial(value: Option<V>) -> Self {
        Self::new(value, None)
    }

    /// Advances to the event at `head`. `inside_commit` is true if its commit has more events.
    pub(crate) fn reach(&mut self, head: Head<S>, inside_commit: bool) {
        self.head = Some(head);
        self.inside_commit = inside_commit;
    }

    /// True if the last folded event is not the last of its commit. Only a snapshot of the past can be inside a commit.
    pub fn is_inside_commit(&self) -> bool {
        self.inside_commit
    }

    /// Returns the sequence of the last folded event.
    pub fn sequence(&self) -> Option<S> {
        self.head.map(|head| head.sequence)
    }

    /// Returns the time of the last folded event.
    pub fn time(&self) -> Option<Timestamp> {
        self.head.map(|head| head.time)
    }

    /// Returns the head of a snapshot that a storage must store; `None` for a snapshot of no event or inside a commit.
    pub fn to_keep(&self) -> Option<Head<S>> {
        self.head.filter(|_| !self.inside_commit)
    }

    /// True if events were folded and there is no value.
    pub fn is_deleted(&self) -> bool {
        self.value.is_none() && self.head.is_some()
    }

    /// Converts the value, and keeps the head.
    pub fn map<V2>(self, map: impl FnOnce(V) -> V2) -> Snapshot<S, V2> {
        Snapshot { value: self.value.map(map), head: self.head, inside_commit: self.inside_commit }
    }
}

/// Stores folded values for one kind of query.
///
/// Snapshots only save reads. A query returns the same answer if the storage lost all snapshots or, like
/// [`NoSnapshots`], never had any. Snapshots are stored separately from the streams, and no write waits for them. A
/// snapshot of another history of its stream, which a restored storage no longer has, is not used.
///
/// - A snapshot is found under the query key and the fold version that it was put with, and under no other.
/// - Query keys are independent of each other, and so are storages with different names in one file or table.
/// - `Latest` is the snapshot with the greatest sequence, `Earliest` the one with the least, and `Before(s)` the one
///   with the greatest sequence less than `s`.
/// - A snapshot that does not exist is `None` and not an error.
/// - A snapshot is returned as it was put: value or deletion, sequence, time (to the microsecond) and commit id.
/// - A put with mode `Cache` replaces the cached snapshot of the key, unless the cached one has a greater sequence. A
///   slow writer therefore never moves a cache backwards.
/// - A put with mode `Epoch` stores the snapshot in addition to all others, and replaces an epoch of the same sequence.
/// - A cached snapshot never replaces an epoch, and an epoch never replaces a cached snapshot of another sequence.
/// - A put of a snapshot of no event, or of one inside a commit, stores nothing.
/// - A snapshot that cannot be read is an error of kind `Corrupt`, and a query that gets this error folds the events
///   instead.
/// - Any number of tasks may put and get concurrently.
pub trait SnapshotStorage: Send + Sync + 'static {
    /// Key of a query.
    type Key: Send + Sync;
    /// Sequence type of the folded streams.
    type Sequence: Sequence;
    /// Folded value.
    type Value: Send + Sync;

    /// Returns the snapshot of `key` that `which` selects, among those made by version `version` of the fold.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; `Corrupt` if the snapshot cannot be read.
    fn get(
        &self,
        key: &Self::Key,
        version: u32,
        which: SnapshotAt<Self::Sequence>,
    ) -> impl Future<Output = Result<Option<Snapshot<Self::Sequence, Self::Value>>, StorageError>> + Send;

    /// Stores `snapshot`, which was made by version `version` of the fold.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; the snapshot may or may not be stored.
    fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// Selects one of the snapshots of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotAt<S> {
    /// The snapshot with the least sequence.
    Earliest,
    /// The snapshot with the greatest sequence.
    Latest,
    /// The snapshot with the greatest sequence less than this one.
    Before(S),
}

/// Lifetime of a stored snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotMode {
    /// Stored until a later one is cached: at most one for each key, for queries of the latest value.
    Cache,
    /// Stored permanently: any number for each key, for queries of old values.
    Epoch,
}

/// Snapshot storage that stores nothing. Every fold starts at the first event.
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
