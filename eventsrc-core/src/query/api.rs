//! Queries: values made by folding a stream.

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::fold::{Fold, Folding, Until};
use crate::snapshot::{NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
use crate::storage::{EventStorage, PageOf, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::token::Token;

/// Something that answers by folding a stream, up to a point of the caller's choice.
///
/// [`QueryApi`] is the one that reads a storage; [`map`](Query::map) and [`contramap`](Query::contramap) make
/// others of it.
pub trait Query: Send + Sync {
    /// What is asked for.
    type Key: Send + Sync;
    /// The sequence of the streams folded.
    type Sequence: Sequence;
    /// What is answered.
    type Value: Send + Sync;

    /// The value, and the event it is as new as.
    fn snapshot(
        &self,
        key: &Self::Key,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// The snapshot as it was once the event at `sequence` was saved; beyond the end, the latest.
    fn at_sequence(
        &self,
        key: &Self::Key,
        sequence: Self::Sequence,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// The snapshot as it was at `time`: of the events before the first one that is later.
    fn at_time(
        &self,
        key: &Self::Key,
        time: Timestamp,
    ) -> impl Future<Output = Result<Snapshot<Self::Sequence, Self::Value>, StorageError>> + Send;

    /// The snapshot after each event, from the event at `from` on (`None`: from the first).
    fn history(
        &self,
        key: Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<Snapshot<Self::Sequence, Self::Value>, StorageError>>
    where
        Self::Value: Clone;

    /// The value, without the event it is as new as.
    fn get(
        &self,
        key: &Self::Key,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Option<Self::Value>, StorageError>> + Send {
        async move { Ok(self.snapshot(key, consistency).await?.value) }
    }

    /// The same query with another value, made of the folded one.
    fn map<V: Send + Sync, G: Fn(Self::Value) -> V + Send + Sync>(self, map: G) -> Mapped<Self, G>
    where
        Self: Sized,
    {
        Mapped { query: self, map }
    }

    /// The same query under another key, from which `contramap` makes the one that is asked.
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

/// How new an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Consistency {
    /// As new as the latest event: reads what came after the latest snapshot.
    #[default]
    LatestEvent,
    /// As new as the latest snapshot that is kept: reads no event, unless there is no snapshot.
    LatestSnapshot,
}

/// Answers from a storage, by a fold.
///
/// `F` is the fold, and `Sn` keeps snapshots. With or without snapshots the answers are the same.
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

/// When a query keeps the snapshot that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SnapshotPolicy {
    /// Only when asked to, by [`QueryApi::refresh`].
    #[default]
    Never,
    /// When it folded at least so many events since the snapshot that it began from.
    Every(u64),
}

impl<St, F> QueryApi<St, F>
where
    St: EventStorage,
    F: Fold<St::Key, St::Sequence, St::Payload>,
{
    /// A query for the streams' own keys.
    pub fn new(storage: St, fold: F) -> Self
    where
        F: Fold<St::Key, St::Sequence, St::Payload, Key = St::Key>,
    {
        Self::keyed(storage, fold, St::Key::clone)
    }

    /// A query that folds the stream `stream_of(key)`; one stream may serve many query keys.
    pub fn keyed(
        storage: St,
        fold: F,
        stream_of: impl Fn(&F::Key) -> St::Key + Send + Sync + 'static,
    ) -> Self {
        let stream_of = Box::new(stream_of);
        Self { storage, fold, stream_of, snapshots: NoSnapshots::default(), policy: SnapshotPolicy::Never }
    }

    /// The same query, with snapshots to begin from.
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
    /// Folds anew and keeps the result: from the snapshot that `start` names, or from the first event.
    ///
    /// To mend a snapshot that is wrong, begin before it.
    ///
    /// # Errors
    ///
    /// A [`StorageError`] from the events, or from keeping the snapshot.
    pub async fn refresh(
        &self,
        key: &F::Key,
        start: Option<SnapshotAt<St::Sequence>>,
        mode: SnapshotMode,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let start = match start {
            Some(which) => self.kept(key, which).await,
            None => Snapshot::initial(None),
        };
        let snapshot = self.fold_from(key, start, Until::Latest).await?;
        self.snapshots.put(key, self.fold.version(), &snapshot, mode).await?;
        Ok(snapshot)
    }

    /// The token that says what `snapshot` of `key` was built from. A writer trusts it as knowledge of where the stream ends,
    /// unless the snapshot lies inside a commit, after which nothing can be put.
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

    /// Folds what came after `start`.
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

    /// The events after `start`, which is kept or initial, and so not inside a commit.
    fn pages_after(
        &self,
        key: &F::Key,
        start: &Snapshot<St::Sequence, F::Value>,
    ) -> BoxStream<'_, Result<PageOf<St>, StorageError>> {
        self.storage.events_after(&self.stream_of(key), start.sequence())
    }

    /// The snapshot that is kept, or the initial one. Snapshots save reads and nothing else, so a query does not
    /// fail for one that cannot be read.
    async fn kept(&self, key: &F::Key, which: SnapshotAt<St::Sequence>) -> Snapshot<St::Sequence, F::Value> {
        match self.snapshots.get(key, self.fold.version(), which).await {
            Ok(kept) => kept.unwrap_or_else(|| Snapshot::initial(None)),
            Err(error) => {
                tracing::warn!(%error, stream = ?self.stream_of(key), "a snapshot cannot be read; folding all events");
                Snapshot::initial(None)
            }
        }
    }

    async fn keep(&self, key: &F::Key, began: u64, snapshot: &Snapshot<St::Sequence, F::Value>) {
        let (SnapshotPolicy::Every(events), Some(sequence)) = (self.policy, snapshot.sequence()) else {
            return;
        };
        if Sequence::number(sequence) - began < events.max(1) {
            return;
        }
        if let Err(error) = self.snapshots.put(key, self.fold.version(), snapshot, SnapshotMode::Cache).await
        {
            tracing::warn!(%error, stream = ?self.stream_of(key), "a snapshot cannot be kept");
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
        let start = self.kept(key, SnapshotAt::Latest).await;
        if consistency == Consistency::LatestSnapshot && start.head.is_some() {
            return Ok(start);
        }
        let began = start.sequence().map_or(0, Sequence::number);
        let snapshot = self.fold_from(key, start, Until::Latest).await?;
        self.keep(key, began, &snapshot).await;
        Ok(snapshot)
    }

    async fn at_sequence(
        &self,
        key: &F::Key,
        sequence: St::Sequence,
    ) -> Result<Snapshot<St::Sequence, F::Value>, StorageError> {
        let which = sequence.least_greater().map_or(SnapshotAt::Latest, SnapshotAt::Before);
        let start = self.kept(key, which).await;
        self.fold_from(key, start, Until::Sequence(sequence)).await
    }

    /// Reads the stream from its first event: a snapshot does not tell whether an event before it was later than `time`.
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
                Some(from) => self.kept(&key, SnapshotAt::Before(from)).await,
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

/// See [`Query::map`].
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

/// See [`Query::contramap`].
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
