//! Queries, which fold the events of a stream.

use std::pin::Pin;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::fold::{Fold, Folding, Until};
use super::write_behind::WriteBehind;
use crate::snapshot::{NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
use crate::storage::continuation::events_after_head;
use crate::storage::{ErrorKind, EventStorage, PageOf, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::token::Token;

/// Query that folds the events of a stream, up to a point of the caller's choice.
///
/// [`QueryApi`] reads a storage. [`map`](Query::map) and [`contramap`](Query::contramap) adapt the value and the key of
/// another query.
///
/// # Errors
///
/// Every method fails with the [`StorageError`] of the events that it reads.
pub trait Query: Send + Sync {
    /// Key of the query.
    type Key: Send + Sync;
    /// Sequence type of the folded streams.
    type Sequence: Sequence;
    /// Value that the query returns.
    type Value: Send + Sync;

    /// Returns the value, with the last event that it includes.
    fn snapshot(
        &self,
        key: &Self::Key,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// Returns the snapshot after the event at `sequence`; the latest one if `sequence` is beyond the end.
    fn at_sequence(
        &self,
        key: &Self::Key,
        sequence: Self::Sequence,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// Returns the snapshot at `time`. It includes the events before the first one that is later than `time`.
    fn at_time(
        &self,
        key: &Self::Key,
        time: Timestamp,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// Returns the snapshot after each event, starting with the event at `from` (`None`: with the first event). An event that
    /// an upcaster drops has one, too.
    fn history(
        &self,
        key: Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<Snapshot<Self::Sequence, Self::Value>, StorageError>>
    where
        Self::Value: Clone;

    /// Returns the value only.
    fn get(
        &self,
        key: &Self::Key,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Option<Self::Value>, StorageError>> + Send {
        async move { Ok(self.snapshot(key, consistency).await?.value) }
    }

    /// Returns a query that converts the folded value with `map`.
    fn map<V: Send + Sync, G: Fn(Self::Value) -> V + Send + Sync>(self, map: G) -> Mapped<Self, G>
    where
        Self: Sized,
    {
        Mapped { query: self, map }
    }

    /// Returns a query with another key, which `contramap` converts to the key of this query.
    fn contramap<K: Send + Sync, G: Fn(&K) -> Self::Key + Send + Sync>(
        self,
        contramap: G,
    ) -> Contramapped<Self, K, G>
    where
        Self: Sized,
    {
        Contramapped { query: self, contramap, key: std::marker::PhantomData }
    }
}

/// Required freshness of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Consistency {
    /// Includes the latest event. Reads the events after the latest snapshot. This is the default.
    #[default]
    LatestEvent,
    /// As fresh as the latest stored snapshot. Reads no events, unless there is no snapshot.
    LatestSnapshot,
}

/// Query that applies the fold `F` to events of the storage `St`.
///
/// It may start from snapshots in `Sn`. Answers are the same with or without snapshots.
pub struct QueryApi<St, F, Sn = NoSnapshots<KeyOf<St, F>, <St as EventStorage>::Sequence, ValueOf<St, F>>>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    storage: St,
    fold: F,
    stream_of: Box<dyn Fn(&F::Key) -> St::Key + Send + Sync>,
    snapshots: Arc<Sn>,
    policy: SnapshotPolicy,
    /// Copies a snapshot for a write that no query waits for.
    copy: Option<CopySnapshot<St, F>>,
    writes: WriteBehind,
}

type CopySnapshot<St, F> = fn(&KeyOf<St, F>, &SnapshotOf<St, F>) -> (KeyOf<St, F>, SnapshotOf<St, F>);

pub(crate) type SnapshotOf<St, F> = Snapshot<<St as EventStorage>::Sequence, ValueOf<St, F>>;

pub(crate) type KeyOf<St, F> = <F as Fold<
    <St as EventStorage>::Key,
    <St as EventStorage>::Sequence,
    <St as EventStorage>::Payload,
>>::Key;

pub(crate) type ValueOf<St, F> = <F as Fold<
    <St as EventStorage>::Key,
    <St as EventStorage>::Sequence,
    <St as EventStorage>::Payload,
>>::Value;

/// Condition under which a query stores the snapshot that it computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SnapshotPolicy {
    /// Only [`QueryApi::refresh`] stores snapshots. This is the default.
    #[default]
    Never,
    /// After folding at least this number of events since the snapshot that the query started from.
    Every(u64),
}

impl<St, F> QueryApi<St, F>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    /// Creates a query whose keys are the keys of the streams.
    pub fn new(storage: St, fold: F) -> Self
    where
        F: Fold<St::Key, St::Sequence, St::Payload, Key = St::Key>,
    {
        Self::keyed(storage, fold, St::Key::clone)
    }

    /// Creates a query that folds the stream `stream_of(key)`. One stream may serve many query keys.
    pub fn keyed(
        storage: St,
        fold: F,
        stream_of: impl Fn(&F::Key) -> St::Key + Send + Sync + 'static,
    ) -> Self {
        Self {
            storage,
            fold,
            stream_of: Box::new(stream_of),
            snapshots: Arc::default(),
            policy: SnapshotPolicy::Never,
            copy: None,
            writes: WriteBehind::default(),
        }
    }

    /// Adds a storage of snapshots. `policy` determines when the query stores a snapshot.
    ///
    /// A query does not wait until its snapshot is stored; see [`flush`](QueryApi::flush).
    pub fn with_snapshots<Sn>(self, snapshots: Sn, policy: SnapshotPolicy) -> QueryApi<St, F, Sn>
    where
        F: Fold<St::Key, St::Sequence, St::Payload, Key: Clone + 'static, Value: Clone + 'static>,
        Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
    {
        let Self { storage, fold, stream_of, writes, .. } = self;
        let copy: CopySnapshot<St, F> = |key, snapshot| (key.clone(), snapshot.clone());
        let snapshots = Arc::new(snapshots);
        QueryApi { storage, fold, stream_of, snapshots, policy, copy: Some(copy), writes }
    }
}

impl<St, F, Sn> QueryApi<St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    /// Folds again and stores the result, starting from the snapshot that `start` selects (`None`: from the first
    /// event).
    ///
    /// To repair a wrong snapshot, start before it.
    ///
    /// # Errors
    ///
    /// [`StorageError`] of reading the events, or of storing the snapshot.
    pub async fn refresh(
        &self,
        key: &F::Key,
        start: Option<SnapshotAt<St::Sequence>>,
        mode: SnapshotMode,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let snapshot = self.fold_until(key, start, Until::Latest).await?;
        self.snapshots.put(key, self.fold.version(), &snapshot, mode).await?;
        Ok(snapshot)
    }

    /// Waits until all snapshots that queries started to store are stored, or have failed.
    pub async fn flush(&self) {
        self.writes.flush().await;
    }

    /// Returns the token of the events that `snapshot` of `key` includes. The token is trusted, so a writer can use it
    /// without a read. The token of a snapshot inside a commit is not trusted, because no commit can follow there.
    pub fn token(&self, key: &F::Key, snapshot: &Snapshot<St::Sequence, F::Value>) -> Token {
        let Ok(name) = StreamName::of(&(self.stream_of)(key)) else { return Token::default() };
        let token = Token::seen(name, snapshot.head.map(|head| (head.sequence, head.commit_id)));
        if snapshot.is_inside_commit() { token.unvouched() } else { token }
    }

    pub(crate) fn stream_of(&self, key: &F::Key) -> St::Key {
        (self.stream_of)(key)
    }

    pub(crate) fn fold_function(&self) -> &F {
        &self.fold
    }

    /// Folds the events after `snapshot` into it. If the call fails or is dropped, the snapshot includes those events that
    /// were read.
    ///
    /// # Errors
    ///
    /// [`StorageError`] of reading; `Diverged` if the stream does not have the commit at which the snapshot ends.
    pub(crate) async fn advance(
        &self,
        key: &F::Key,
        snapshot: &mut SnapshotOf<St, F>,
    ) -> Result<(), StorageError> {
        let mut pages = self.pages_after(key, snapshot);
        self.fold_page(key, snapshot, None);
        while let Some(page) = pages.try_next().await? {
            self.fold_page(key, snapshot, Some(&page));
        }
        Ok(())
    }

    fn fold_page(&self, key: &F::Key, snapshot: &mut SnapshotOf<St, F>, page: Option<&PageOf<St>>) {
        let start = std::mem::replace(snapshot, Snapshot::initial(None));
        let mut folding = Folding::new(&self.fold, key, start);
        if let Some(page) = page {
            folding.page(page, Until::Latest);
        }
        *snapshot = folding.into_snapshot();
    }

    /// Folds the events up to `until`, starting from the stored snapshot that `start` selects (`None`: from the first
    /// event).
    async fn fold_until(
        &self,
        key: &F::Key,
        start: Option<SnapshotAt<St::Sequence>>,
        until: Until<St::Sequence>,
    ) -> Result<SnapshotOf<St, F>, StorageError> {
        let (start, mut pages) = self.start(key, start).await;
        self.fold(key, start, &mut pages, until).await
    }

    async fn fold(
        &self,
        key: &F::Key,
        start: SnapshotOf<St, F>,
        pages: &mut BoxStream<'_, Result<PageOf<St>, StorageError>>,
        until: Until<St::Sequence>,
    ) -> Result<SnapshotOf<St, F>, StorageError> {
        let mut folding = Folding::new(&self.fold, key, start);
        while let Some(page) = pages.try_next().await? {
            if !folding.page(&page, until) {
                break;
            }
        }
        Ok(folding.into_snapshot())
    }

    /// Returns the stored snapshot that `which` selects and the events after it, or the initial snapshot and all events.
    ///
    /// Snapshots only save reads. A query does not fail if a snapshot cannot be read, and does not use a snapshot of
    /// another history of the stream.
    async fn start(
        &self,
        key: &F::Key,
        which: Option<SnapshotAt<St::Sequence>>,
    ) -> (SnapshotOf<St, F>, BoxStream<'_, Result<PageOf<St>, StorageError>>) {
        let Some(which) = which else {
            let initial = Snapshot::initial(None);
            let pages = self.pages_after(key, &initial);
            return (initial, pages);
        };
        let start = self.stored_or_initial(key, which).await;
        self.continue_from(key, start).await
    }

    async fn continue_from(
        &self,
        key: &F::Key,
        start: SnapshotOf<St, F>,
    ) -> (SnapshotOf<St, F>, BoxStream<'_, Result<PageOf<St>, StorageError>>) {
        let mut pages = self.pages_after(key, &start).peekable();
        if let Some(Err(error)) = Pin::new(&mut pages).peek().await
            && error.kind() == ErrorKind::Diverged
        {
            tracing::error!(%error, "a snapshot is of another history of its stream; folding all events");
            let initial = Snapshot::initial(None);
            let pages = self.pages_after(key, &initial);
            return (initial, pages);
        }
        (start, pages.boxed())
    }

    /// Reads the events after `start`, which is a stored or an initial snapshot and therefore not inside a commit.
    fn pages_after(
        &self,
        key: &F::Key,
        start: &SnapshotOf<St, F>,
    ) -> BoxStream<'_, Result<PageOf<St>, StorageError>> {
        events_after_head(&self.storage, &self.stream_of(key), start.head)
    }

    /// Returns the stored snapshot; the initial one if there is none or if it cannot be read.
    async fn stored_or_initial(&self, key: &F::Key, which: SnapshotAt<St::Sequence>) -> SnapshotOf<St, F> {
        match self.snapshots.get(key, self.fold.version(), which).await {
            Ok(stored) => stored.unwrap_or_else(|| Snapshot::initial(None)),
            Err(error) => {
                let stream = self.stream_of(key);
                tracing::warn!(%error, ?stream, "cannot read a snapshot; folding all events");
                Snapshot::initial(None)
            }
        }
    }

    /// Stores `snapshot` if the policy requires it, without waiting for the write. `start` is the number of the sequence
    /// that the fold started from. Returns the number of the sequence from which the next snapshot counts.
    pub(crate) fn store_if_due(&self, key: &F::Key, start: u64, snapshot: &SnapshotOf<St, F>) -> u64 {
        let (SnapshotPolicy::Every(events), Some(sequence)) = (self.policy, snapshot.sequence()) else {
            return start;
        };
        let number = Sequence::number(sequence);
        if number.saturating_sub(start) < events.max(1) {
            return start;
        }
        if let Some(copy) = self.copy {
            let (snapshots, version) = (Arc::clone(&self.snapshots), self.fold.version());
            self.writes.start(|| {
                let (key, snapshot) = copy(key, snapshot);
                async move { snapshots.put(&key, version, &snapshot, SnapshotMode::Cache).await }
            });
        }
        number
    }
}

impl<St, F, Sn> Query for QueryApi<St, F, Sn>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
    Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
{
    type Key = F::Key;
    type Sequence = St::Sequence;
    type Value = F::Value;

    async fn snapshot(
        &self,
        key: &F::Key,
        consistency: Consistency,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let start = self.stored_or_initial(key, SnapshotAt::Latest).await;
        if consistency == Consistency::LatestSnapshot && start.head.is_some() {
            return Ok(start);
        }
        let (start, mut pages) = self.continue_from(key, start).await;
        let start_number = start.sequence().map_or(0, Sequence::number);
        let snapshot = self.fold(key, start, &mut pages, Until::Latest).await?;
        self.store_if_due(key, start_number, &snapshot);
        Ok(snapshot)
    }

    async fn at_sequence(
        &self,
        key: &F::Key,
        sequence: St::Sequence,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let which = sequence.least_greater().map_or(SnapshotAt::Latest, SnapshotAt::Before);
        self.fold_until(key, Some(which), Until::Sequence(sequence)).await
    }

    /// Reads the stream from its first event, because a snapshot does not show if an event before it is later than
    /// `time`.
    async fn at_time(
        &self,
        key: &F::Key,
        time: Timestamp,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        self.fold_until(key, None, Until::Time(time)).await
    }

    fn history(
        &self,
        key: F::Key,
        from: Option<St::Sequence>,
    ) -> BoxStream<'_, Result<Snapshot<St::Sequence, F::Value>, StorageError>>
    where
        F::Value: Clone,
    {
        try_stream! {
            let (start, mut pages) = self.start(&key, from.map(SnapshotAt::Before)).await;
            let mut folding = Folding::new(&self.fold, &key, start);
            while let Some(page) = pages.try_next().await? {
                for (commit, indices) in page.parts() {
                    for index in indices {
                        let snapshot = folding.event(commit, index);
                        if snapshot.sequence() >= from {
                            yield snapshot.clone();
                        }
                    }
                }
            }
        }
        .boxed()
    }
}

/// Query with a converted value, created by [`Query::map`].
#[derive(Debug, Clone)]
pub struct Mapped<Q, G> {
    query: Q,
    map: G,
}

impl<Q, V, G> Query for Mapped<Q, G>
where
    Q: Query<Value: Clone>,
    V: Send + Sync,
    G: Fn(Q::Value) -> V + Send + Sync,
{
    type Key = Q::Key;
    type Sequence = Q::Sequence;
    type Value = V;

    async fn snapshot(
        &self,
        key: &Q::Key,
        consistency: Consistency,
    ) -> Result<Snapshot<Q::Sequence, V>, StorageError> {
        Ok(self.query.snapshot(key, consistency).await?.map(&self.map))
    }

    async fn at_sequence(
        &self,
        key: &Q::Key,
        sequence: Q::Sequence,
    ) -> Result<Snapshot<Q::Sequence, V>, StorageError> {
        Ok(self.query.at_sequence(key, sequence).await?.map(&self.map))
    }

    async fn at_time(&self, key: &Q::Key, time: Timestamp) -> Result<Snapshot<Q::Sequence, V>, StorageError> {
        Ok(self.query.at_time(key, time).await?.map(&self.map))
    }

    fn history(
        &self,
        key: Q::Key,
        from: Option<Q::Sequence>,
    ) -> BoxStream<'_, Result<Snapshot<Q::Sequence, V>, StorageError>> {
        self.query.history(key, from).map_ok(|snapshot| snapshot.map(&self.map)).boxed()
    }
}

/// Query with a converted key, created by [`Query::contramap`].
#[derive(Debug, Clone)]
pub struct Contramapped<Q, K, G> {
    query: Q,
    contramap: G,
    key: std::marker::PhantomData<fn(&K)>,
}

impl<Q, K, G> Query for Contramapped<Q, K, G>
where
    Q: Query,
    K: Send + Sync,
    G: Fn(&K) -> Q::Key + Send + Sync,
{
    type Key = K;
    type Sequence = Q::Sequence;
    type Value = Q::Value;

    async fn snapshot(
        &self,
        key: &K,
        consistency: Consistency,
    ) -> Result<Snapshot<Q::Sequence, Q::Value>, StorageError> {
        self.query.snapshot(&(self.contramap)(key), consistency).await
    }

    async fn at_sequence(
        &self,
        key: &K,
        sequence: Q::Sequence,
    ) -> Result<Snapshot<Q::Sequence, Q::Value>, StorageError> {
        self.query.at_sequence(&(self.contramap)(key), sequence).await
    }

    async fn at_time(
        &self,
        key: &K,
        time: Timestamp,
    ) -> Result<Snapshot<Q::Sequence, Q::Value>, StorageError> {
        self.query.at_time(&(self.contramap)(key), time).await
    }

    fn history(
        &self,
        key: K,
        from: Option<Q::Sequence>,
    ) -> BoxStream<'_, Result<Snapshot<Q::Sequence, Q::Value>, StorageError>>
    where
        Q::Value: Clone,
    {
        self.query.history((self.contramap)(&key), from)
    }
}
