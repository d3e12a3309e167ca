//! Event storage in Postgres.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::backend::{check_follows, storable_name};
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, Conflict, HeadsOf, Page, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_postgres::Error;

use crate::append::AppendOutcome;
use crate::bucket::buckets;
use crate::decoded_page::DecodedPage;
use crate::layout::{PageRow, ScanCursor, StreamLocation};
use crate::postgres::Postgres;
use crate::rows;

/// Event storage for one type of key, sequence and payload in a [`Postgres`]. Cheap to clone.
///
/// Storages of other keys and payloads may share the schema, provided that no category is used by two of them.
///
/// Puts share one queue for each [`Postgres`]. Beyond the limits in its [`Settings`](crate::Settings), a put fails with
/// `Overloaded`. While the server is away, puts fail at once with `Unavailable`, and one at a time tries to connect, after
/// waits of 100 ms to 2 s. A put whose future is dropped before it is sent stores nothing.
pub struct PostgresStorage<K, S, E, C = Json> {
    postgres: Postgres,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E> PostgresStorage<K, S, E> {
    /// Storage in `postgres` with payloads as JSON.
    pub fn new(postgres: &Postgres) -> Self {
        Self::with_codec(postgres, Json)
    }
}

impl<K, S, E, C> PostgresStorage<K, S, E, C> {
    /// Storage in `postgres` with payloads encoded by `codec`.
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
        let stream = StreamLocation::new(storable_name(&commit)?);
        let row = rows::encode(&commit, &*self.codec)?;
        let outcome = self
            .postgres
            .committer()
            .put(stream, row)
            .await
            .map_err(|failure| StorageError::from(failure).on(key).at(commit.first))?;
        match outcome {
            AppendOutcome::Stored => Ok(Put::Stored),
            AppendOutcome::Repeated { existing, .. } => {
                Ok(Put::Repeated { last: existing.decode_last(key)? })
            }
            AppendOutcome::Conflict { existing, head } => Ok(Put::Conflict(Conflict {
                // The conflict is certain even if the existing commit cannot be read.
                existing: existing.and_then(|row| row.decode(key, &*self.codec).ok()),
                head: rows::head(key, head).ok(),
            })),
            AppendOutcome::Diverged { head } => {
                let head = head.map(|head| rows::head(key, head)).transpose()?;
                check_follows(&commit, head.as_ref())?;
                let what = "the end of the stream changed while the commit was put";
                Err(StorageError::new(ErrorKind::Unavailable, what).on(key).at(commit.first))
            }
        }
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let Ok(name) = StreamName::of(key) else { return Ok(Vec::new()) };
        let (connections, layout) = (self.postgres.read_connections(), self.postgres.event_layout());
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let heads = layout.recent(connections, &StreamLocation::new(name), count).await;
        let heads = heads.map_err(|failure| StorageError::from(failure).on(key))?;
        heads.into_iter().map(|head| rows::head(key, head)).collect()
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        try_stream! {
            let Ok(name) = StreamName::of(&key) else { return };
            // No stored number is above the range of the column.
            let Ok(first) = i64::try_from(from.map_or(0, Sequence::number)) else { return };
            let (connections, layout) = (self.postgres.read_connections(), self.postgres.event_layout());
            let stream = StreamLocation::new(name);
            let mut next = Some(first);
            while let Some(from_number) = next {
                let rows = layout.stream_page(connections, &stream, from_number).await;
                let rows = rows.map_err(|failure| StorageError::from(failure).on(&key))?;
                let decoded = self.decode(&rows, |_| Ok(Some(key.clone())));
                next = decoded.end.and_then(|end| end.checked_add(1));
                drop(rows);
                let page = Page::starting_at(Arc::new(decoded.commits), from);
                if !page.is_empty() {
                    yield page;
                }
                if let Some(failure) = decoded.failure {
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
            let (connections, layout) = (self.postgres.read_connections(), self.postgres.event_layout());
            let buckets = buckets(segment);
            let mut next = Some(ScanCursor::before(buckets.start));
            while let Some(after) = next {
                let rows = layout.segment_page(connections, &after, buckets.end).await?;
                let decoded = self.decode(&rows, |row| {
                    let (category, id) = row.name()?;
                    Ok(K::from_parts(category, id))
                });
                let last = rows.last().zip(decoded.end);
                next = last.map(|(row, end)| ScanCursor::after(row, end)).transpose()?;
                drop(rows);
                if !decoded.commits.is_empty() {
                    yield Page::new(decoded.commits);
                }
                if let Some(failure) = decoded.failure {
                    Err(failure)?;
                }
            }
        }
        .boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        try_stream! {
            let (connections, layout) = (self.postgres.read_connections(), self.postgres.event_layout());
            let (buckets, page_size) = (buckets(segment), self.postgres.settings().commits_per_page.max(1));
            let mut next = Some(ScanCursor::before(buckets.start));
            while let Some(after) = next {
                let rows = layout.heads_page(connections, &after, buckets.end).await?;
                next = rows.last().filter(|_| rows.len() == page_size).map(|(cursor, _)| cursor.clone());
                let heads = rows.into_iter().filter_map(|(cursor, head)| {
                    let key = K::from_parts(&cursor.category, &cursor.id)?;
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
    fn decode(
        &self,
        rows: &[PageRow],
        key: impl Fn(&PageRow) -> Result<Option<K>, Error>,
    ) -> DecodedPage<K, S, E> {
        DecodedPage::new(rows, key, &*self.codec, self.postgres.settings())
    }
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
