//! Queries, which fold the events of a stream.

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::fold::{Fold, Folding, Until};
use crate::snapshot::{NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
use crate::storage::{EventStorage, PageOf, StorageError};
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

    /// Returns the snapshot after each event, starting with the event at `from` (`None`: with the first event).
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
    snapshots: Sn,
    policy: SnapshotPolicy,
}

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
        let stream_of = Box::new(stream_of);
        Self { storage, fold, stream_of, snapshots: NoSnapshots::default(), policy: SnapshotPolicy::Never }
    }

    /// Adds a storage of snapshots. `policy` determines when the query stores a snapshot.
    pub fn with_snapshots<Sn>(self, snapshots: Sn, policy: SnapshotPolicy) -> QueryApi<St, F, Sn>
    where
        Sn: SnapshotStorage<Key = F::Key, Sequence = St::Sequence, Value = F::Value>,
    {
        let Self { storage, fold, stream_of, .. } = self;
        QueryApi { storage, fold, stream_of, snapshots, policy }
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
        let start = match start {
            Some(which) => self.stored_or_initial(key, which).await,
            None => Snapshot::initial(None),
        };
        let snapshot = self.fold_from(key, start, Until::Latest).await?;
        self.snapshots.put(key, self.fold.version(), &snapshot, mode).await?;
        Ok(snapshot)
    }

    /// Returns the token of the events that `snapshot` of `key` includes. The token is trusted, so a writer can use it
    /// without a read. The token of a snapshot inside a commit is not trusted, because no commit can follow there.
    pub fn token(&self, key: &F::Key, snapshot: &Snapshot<St::Sequence, F::Value>) -> Token {
        let Ok(name) = StreamName::of(&(self.stream_of)(key)) else { return Token::default() };
        let token = Token::seen(name, snapshot.sequence());
        if snapshot.is_inside_commit() { token.unvouched() } else { token }
    }

    pub(crate) fn stream_of(&self, key: &F::Key) -> St::Key {
        (self.stream_of)(key)
    }

    pub(crate) fn fold(&self) -> &F {
        &self.fold
    }

    /// Folds the events after `start`, up to `until`.
    pub(crate) async fn fold_from(
        &self,
        key: &F::Key,
        start: Snapshot<St::Sequence, F::Value>,
        until: Until<St::Sequence>,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let mut pages = self.pages_after(key, &start);
        let mut folding = Folding::new(&self.fold, key, start);
        while let Some(page) = pages.try_next().await? {
            if !folding.page(&page, until) {
                break;
            }
        }
        Ok(folding.into_snapshot())
    }

    /// Reads the events after `start`, which is a stored or an initial snapshot and therefore not inside a commit.
    fn pages_after(
        &self,
        key: &F::Key,
        start: &Snapshot<St::Sequence, F::Value>,
    ) -> BoxStream<'_, Result<PageOf<St>, StorageError>> {
        self.storage.events_after(&self.stream_of(key), start.sequence())
    }

    /// Returns the stored snapshot, or the initial one. Snapshots only save reads, so a query does not fail if a
    /// snapshot cannot be read.
    async fn stored_or_initial(
        &self,
        key: &F::Key,
        which: SnapshotAt<St::Sequence>,
    ) -> Snapshot<St::Sequence, F::Value> {
        match self.snapshots.get(key, self.fold.version(), which).await {
            Ok(stored) => stored.unwrap_or_else(|| Snapshot::initial(None)),
            Err(error) => {
                let stream = self.stream_of(key);
                tracing::warn!(%error, ?stream, "cannot read a snapshot; folding all events");
                Snapshot::initial(None)
            }
        }
    }

    /// Stores `snapshot` if the policy requires it. `start` is the number of the sequence that the fold started from.
    async fn store_if_due(&self, key: &F::Key, start: u64, snapshot: &Snapshot<St::Sequence, F::Value>) {
        let (SnapshotPolicy::Every(events), Some(sequence)) = (self.policy, snapshot.sequence()) else {
            return;
        };
        if Sequence::number(sequence) - start < events.max(1) {
            return;
        }
        if let Err(error) = self.snapshots.put(key, self.fold.version(), snapshot, SnapshotMode::Cache).await
        {
            let stream = self.stream_of(key);
            tracing::warn!(%error, ?stream, "cannot store a snapshot; the next query folds more events");
        }
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
        let start_number = start.sequence().map_or(0, Sequence::number);
        let snapshot = self.fold_from(key, start, Until::Latest).await?;
        self.store_if_due(key, start_number, &snapshot).await;
        Ok(snapshot)
    }

    async fn at_sequence(
        &self,
        key: &F::Key,
        sequence: St::Sequence,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let which = sequence.least_greater().map_or(SnapshotAt::Latest, SnapshotAt::Before);
        let start = self.stored_or_initial(key, which).await;
        self.fold_from(key, start, Until::Sequence(sequence)).await
    }

    /// Reads the stream from its first event, because a snapshot does not show if an event before it is later than
    /// `time`.
    async fn at_time(
        &self,
        key: &F::Key,
        time: Timestamp,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        self.fold_from(key, Snapshot::initial(None), Until::Time(time)).await
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
            let start = match from {
                Some(from) => self.stored_or_initial(&key, SnapshotAt::Before(from)).await,
                None => Snapshot::initial(None),
            };
            let mut pages = self.pages_after(&key, &start);
            let mut folding = Folding::new(&self.fold, &key, start);
            while let Some(page) = pages.try_next().await? {
                for event in page.events() {
                    let snapshot = folding.event(event);
                    if snapshot.sequence() >= from {
                        yield snapshot.clone();
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
