//! The event storage in a file.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::backend::{EncodedCommit, EncodedHead, check_follows, storable_name};
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, Conflict, HeadsOf, Page, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::append::{Appended, NewCommit};
use crate::chunk::Chunk;
use crate::database::Database;
use crate::job::Job;
use crate::view::inline::InlineView;
use crate::view::{SqliteView, View};
use crate::{layout, rows};

/// Event storage for one type of key, sequence and payload in a [`Database`]. Cheap to clone.
///
/// Storages of other types may share the file, as long as no two of them have streams of one category.
pub struct SqliteStorage<K, S, E, C = Json> {
    database: Database,
    codec: Arc<C>,
    views: Vec<Arc<dyn InlineView<K, S, E>>>,
}

impl<K, S, E> SqliteStorage<K, S, E> {
    /// A storage in `database` that encodes payloads as JSON.
    pub fn new(database: &Database) -> Self {
        Self::with_codec(database, Json)
    }
}

impl<K, S, E, C> SqliteStorage<K, S, E, C> {
    /// A storage in `database` that encodes payloads with `codec`.
    pub fn with_codec(database: &Database, codec: C) -> Self {
        Self { database: database.clone(), codec: Arc::new(codec), views: Vec::new() }
    }
}

impl<K, S, E, C> SqliteStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
{
    /// Adds a view to which each commit is applied, in the transaction that stores the commit. The rows of the view are
    /// current when the put returns.
    ///
    /// No put fails because a view rejects the commit. The commit is stored, and its stream goes into quarantine in the same
    /// transaction, with the time of the commit.
    ///
    /// The view does not change if its position is not right before the commit, or if the stream is in quarantine. The
    /// position is behind if the view was added later, or if events were put through another handle. A view therefore needs
    /// a synchronizer as well, which catches it up.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Invalid` if the view was opened in another [`Database`] than this one and its clones.
    pub fn with_view<V: View<K, S, E>>(
        mut self,
        view: &SqliteView<K, S, E, V>,
    ) -> Result<Self, StorageError> {
        self.views.push(view.inline(&self.database)?);
        Ok(self)
    }
}

impl<K, S, E, C> EventStorage for SqliteStorage<K, S, E, C>
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
        let name = storable_name(&commit)?;
        let encoded = EncodedCommit::encode(&commit, &*self.codec)?;
        if !layout::fits(&encoded) {
            let what = "the commit runs past the last sequence that SQLite can store";
            return Err(StorageError::new(ErrorKind::Invalid, what).on(key).at(commit.first));
        }
        let views = self.views.iter().filter_map(|view| view.prepare(&name, &commit)).collect();
        let size = encoded.size();
        let checked = Arc::clone(&commit);
        let check = Box::new(move |head: Option<EncodedHead>| {
            let head = head.map(|head| head.decode(&checked.key)).transpose()?;
            check_follows(&checked, head.as_ref())
        });
        let appended = self
            .database
            .write(size, |reply| Job::Commit {
                new: NewCommit { name, commit: encoded, check },
                views,
                reply,
            })
            .await
            .map_err(|failure| StorageError::from(failure).on(key).at(commit.first))?;
        match appended {
            Appended::Stored { .. } => Ok(Put::Stored),
            Appended::Repeated(existing) => Ok(Put::Repeated { last: existing.decode_last(key)? }),
            Appended::Conflict { existing, head } => Ok(Put::Conflict(Conflict {
                // An unreadable commit is a conflict, too.
                existing: existing.and_then(|existing| existing.decode(key, &*self.codec).ok()),
                head: head.decode(key).ok(),
            })),
            Appended::Refused(error) => Err(error),
        }
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let Ok(name) = StreamName::of(key) else { return Ok(Vec::new()) };
        let heads = self
            .database
            .read(move |connection| layout::recent(connection, &name, count))
            .await
            .map_err(|error| error.on(key))?;
        heads.into_iter().map(|head| head.decode(key)).collect()
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        try_stream! {
            let Ok(name) = StreamName::of(&key) else { return };
            let mut next = self.locate(name.clone(), from).await.map_err(|error| error.on(&key))?;
            while let Some(after) = next {
                let (mut chunk, chunk_key, name) = (self.chunk(), key.clone(), name.clone());
                let chunk = self
                    .database
                    .read(move |connection| {
                        let mut end = after;
                        let visited_all = layout::visit_stream(connection, &name, after, |number, row| {
                            end = number;
                            chunk.add(number, row, &chunk_key)
                        });
                        Ok(chunk.finish(visited_all, end))
                    })
                    .await?;
                next = chunk.next;
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

impl<K, S, E, C> ScanStorage for SqliteStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        try_stream! {
            // The scan does not include later commits, so that it ends while writers are busy.
            let until = self.database.read(layout::last_position).await?;
            let mut next = Some(0);
            while let Some(after) = next {
                let mut chunk = self.chunk();
                let chunk = self
                    .database
                    .read(move |connection| {
                        let mut end = after;
                        let visited_all = layout::visit_segment(connection, segment, after, until, |row| {
                            end = row.position;
                            match K::from_parts(&row.category, &row.id) {
                                Some(key) => chunk.add(row.number, row.commit, &key),
                                None => chunk.skip(),
                            }
                        });
                        Ok(chunk.finish(visited_all, end))
                    })
                    .await?;
                next = chunk.next;
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
            let until = self.database.read(layout::last_stream).await?;
            let heads_per_page = self.database.settings().commits_per_page.max(1);
            let mut next = Some(0);
            while let Some(after) = next {
                let (heads, end) = self
                    .database
                    .read(move |connection| {
                        let (mut heads, mut end) = (Vec::new(), after);
                        // Streams of other storages count, too. The limit bounds the duration of a read.
                        let mut streams_left = heads_per_page.saturating_mul(16);
                        let visited_all = layout::visit_heads(connection, segment, after, until, |row| {
                            end = row.stream;
                            streams_left -= 1;
                            if let Some(key) = K::from_parts(&row.category, &row.id) {
                                heads.push((key, row.head));
                            }
                            let is_full = heads.len() == heads_per_page || streams_left == 0;
                            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                        })?;
                        Ok((heads, (!visited_all).then_some(end)))
                    })
                    .await?;
                next = end;
                let heads = heads.into_iter().map(|(key, head)| rows::keyed_head(key, head));
                let heads: HeadsOf<Self> = heads.collect::<Result<_, _>>()?;
                if !heads.is_empty() {
                    yield heads;
                }
            }
        }
        .boxed()
    }
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> SqliteStorage<K, S, E, C> {
    /// Number before the commit that holds `from`. `None` if there is nothing to read.
    async fn locate(&self, name: StreamName, from: Option<S>) -> Result<Option<i64>, StorageError> {
        // The file holds no number that is greater than the largest `i64`.
        let Ok(from) = i64::try_from(from.map_or(0, Sequence::number)) else { return Ok(None) };
        self.database
            .read(move |connection| Ok(layout::start_up_to(connection, &name, from)?.map(|start| start - 1)))
            .await
    }

    fn chunk(&self) -> Chunk<K, S, E, C> {
        Chunk::new(Arc::clone(&self.codec), self.database.settings())
    }
}

impl<K, S, E, C> Clone for SqliteStorage<K, S, E, C> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), codec: Arc::clone(&self.codec), views: self.views.clone() }
    }
}

impl<K, S, E, C> fmt::Debug for SqliteStorage<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage").field("database", &self.database).finish_non_exhaustive()
    }
}
