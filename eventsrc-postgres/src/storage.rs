//! Events in Postgres.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, Conflict, HeadsOf, Page, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_postgres::Error;

use crate::append::Appended;
use crate::bucket::buckets;
use crate::chunk::Chunk;
use crate::layout::{PageRow, Place, Stream};
use crate::postgres::Postgres;
use crate::rows;

/// The events of one type of key in a [`Postgres`]. Cheap to clone.
///
/// Storages of other keys and payloads may share the schema, as long as no stream's category is used by two of them.
pub struct PostgresStorage<K, S, E, C = Json> {
    postgres: Postgres,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E> PostgresStorage<K, S, E> {
    /// Events of `postgres`, as JSON.
    pub fn new(postgres: &Postgres) -> Self {
        Self::with_codec(postgres, Json)
    }
}

impl<K, S, E, C> PostgresStorage<K, S, E, C> {
    /// Events of `postgres`, as `codec` writes them.
    pub fn with_codec(postgres: &Postgres, codec: C) -> Self {
        Self { postgres: postgres.clone(), codec: Arc::new(codec), types: PhantomData }
    }
}

impl<K, S, E, C> EventStorage for PostgresStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let key = &commit.key;
        let stream = Stream::new(storable(key)?);
        let row = rows::encode(&commit, &*self.codec)?;
        let appended = self
            .postgres
            .committer()
            .put(stream, row)
            .await
            .map_err(|failure| StorageError::from(failure).on(key).at(commit.first))?;
        match appended {
            Appended::Stored => Ok(Put::Stored),
            Appended::Repeated(existing) => Ok(Put::Repeated { last: rows::last(key, &existing)? }),
            Appended::Conflict { existing, head } => Ok(Put::Conflict(Conflict {
                // What is in the way may be unreadable; that it is in the way is the answer.
                existing: existing.and_then(|row| rows::decode(&row, key, &*self.codec).ok()),
                head: rows::head(key, head).ok(),
            })),
            Appended::Hole { head } => {
                let what = format!("a commit after {} would leave a hole", head.number);
                Err(StorageError::new(ErrorKind::Invalid, what).on(key).at(commit.first))
            }
        }
    }

    async fn latest(&self, key: &K) -> Result<Option<Head<S>>, StorageError> {
        let Ok(name) = StreamName::of(key) else { return Ok(None) };
        let (connections, layout) = (self.postgres.reading(), self.postgres.layout());
        let head = layout.head(connections, &Stream::new(name)).await;
        let head = head.map_err(|failure| StorageError::from(failure).on(key))?;
        head.map(|head| rows::head(key, head)).transpose()
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        try_stream! {
            let Ok(name) = StreamName::of(&key) else { return };
            // Beyond what the table can hold there is nothing.
            let Ok(first) = i64::try_from(from.map_or(0, Sequence::number)) else { return };
            let (connections, layout) = (self.postgres.reading(), self.postgres.layout());
            let stream = Stream::new(name);
            let mut next = Some(first);
            while let Some(from_number) = next {
                let rows = layout.stream_page(connections, &stream, from_number).await;
                let rows = rows.map_err(|failure| StorageError::from(failure).on(&key))?;
                let chunk = self.chunk(&rows, |_| Ok(Some(key.clone())));
                next = chunk.end.and_then(|end| end.checked_add(1));
                drop(rows);
                let page = Page::starting_at(Arc::new(chunk.commits), from);
                if !page.is_empty() {
                    yield page;
                }
                if let Some(failure) = chunk.failure {
                    Err(failure)?;
                }
            }
        }
        .boxed()
    }
}

impl<K, S, E, C> ScanStorage for PostgresStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        try_stream! {
            let (connections, layout) = (self.postgres.reading(), self.postgres.layout());
            let buckets = buckets(segment);
            let mut next = Some(Place::before(buckets.start));
            while let Some(after) = next {
                let rows = layout.segment_page(connections, &after, buckets.end).await?;
                let chunk = self.chunk(&rows, |row| {
                    let (category, id) = row.name()?;
                    Ok(K::from_parts(category, id))
                });
                next = rows.last().zip(chunk.end).map(|(last, end)| Place::of(last, end)).transpose()?;
                drop(rows);
                if !chunk.commits.is_empty() {
                    yield Page::new(chunk.commits);
                }
                if let Some(failure) = chunk.failure {
                    Err(failure)?;
                }
            }
        }
        .boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        try_stream! {
            let (connections, layout) = (self.postgres.reading(), self.postgres.layout());
            let (buckets, full) = (buckets(segment), self.postgres.settings().commits_per_page.max(1));
            let mut next = Some(Place::before(buckets.start));
            while let Some(after) = next {
                let rows = layout.heads_page(connections, &after, buckets.end).await?;
                next = rows.last().filter(|_| rows.len() == full).map(|(place, _)| place.clone());
                let heads = rows.into_iter().filter_map(|(place, head)| {
                    let key = K::from_parts(&place.category, &place.id)?;
                    Some(rows::head(&key, head).map(|head| (key, head)))
                });
                let heads: HeadsOf<Self> = heads.collect::<Result<_, _>>()?;
                if !heads.is_empty() {
                    yield heads;
                }
            }
        }
        .boxed()
    }
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> PostgresStorage<K, S, E, C> {
    fn chunk(&self, rows: &[PageRow], key: impl Fn(&PageRow) -> Result<Option<K>, Error>) -> Chunk<K, S, E> {
        Chunk::new(rows, key, &*self.codec, self.postgres.settings())
    }
}

/// The name of the stream that `key` names, if it can be stored under it and read back.
fn storable<K: StreamKey>(key: &K) -> Result<StreamName, StorageError> {
    let name = StreamName::of(key).map_err(|error| {
        StorageError::new(ErrorKind::Invalid, "cannot store under this name").on(key).because(error)
    })?;
    if K::from_parts(name.category(), name.id()).as_ref() == Some(key) {
        return Ok(name);
    }
    Err(StorageError::new(ErrorKind::Invalid, "the parts of the key do not give it back").on(key))
}

impl<K, S, E, C> Clone for PostgresStorage<K, S, E, C> {
    fn clone(&self) -> Self {
        Self { postgres: self.postgres.clone(), codec: Arc::clone(&self.codec), types: PhantomData }
    }
}

impl<K, S, E, C> fmt::Debug for PostgresStorage<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").field("postgres", &self.postgres).finish_non_exhaustive()
    }
}
