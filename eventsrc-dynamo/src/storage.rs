//! Event storage in DynamoDB.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, Conflict, Page, PageOf, Put, PutOf};
use eventsrc_core::{ErrorKind, EventStorage, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::append::{AppendOutcome, append};
use crate::chunk::Chunk;
use crate::commits;
use crate::dynamo::Dynamo;
use crate::layout::{self, CommitItem, HeadItem};
use crate::reading::{self, ItemPage};

/// Event storage of one key type in a [`Dynamo`]. Cheap to clone.
///
/// Storages with other key and payload types may share the table if no two of them use the same category.
pub struct DynamoStorage<K, S, E, C = Json> {
    pub(crate) dynamo: Dynamo,
    pub(crate) codec: Arc<C>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E> DynamoStorage<K, S, E> {
    /// Stores events in `dynamo`, encoded as JSON.
    pub fn new(dynamo: &Dynamo) -> Self {
        Self::with_codec(dynamo, Json)
    }
}

impl<K, S, E, C> DynamoStorage<K, S, E, C> {
    /// Stores events in `dynamo`, encoded by `codec`.
    pub fn with_codec(dynamo: &Dynamo, codec: C) -> Self {
        Self { dynamo: dynamo.clone(), codec: Arc::new(codec), types: PhantomData }
    }
}

impl<K, S, E, C> EventStorage for DynamoStorage<K, S, E, C>
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
        let about = |error: StorageError| error.on(key).at(commit.first);
        let (item, size) = commits::encode(&commit, &*self.codec, self.dynamo.settings().compress_from)?;
        let existing = match append(&self.dynamo, item, size).await.map_err(about)? {
            AppendOutcome::Stored => return Ok(Put::Stored),
            AppendOutcome::Occupied(Some(existing)) => existing,
            AppendOutcome::Occupied(None) => {
                let stream = format!("{}/{}", key.category(), key.id());
                let existing = reading::commit(&self.dynamo, &stream, commit.first.number()).await;
                existing.map_err(about)?.ok_or_else(|| {
                    let what =
                        "the conflicting commit was removed from the table; no program may remove commits";
                    about(StorageError::new(ErrorKind::Corrupt, what))
                })?
            }
        };
        // An unreadable commit is a conflict, too.
        let Ok(existing) = CommitItem::from_item(existing) else {
            return Ok(Put::Conflict(Conflict { existing: None, head: None }));
        };
        if existing.commit_id == commit.metadata.commit_id.0 {
            let last = existing.last().ok_or_else(|| {
                about(StorageError::new(ErrorKind::Corrupt, "the stored commit runs past the last sequence"))
            })?;
            return Ok(Put::Repeated { last: commits::sequence(key, last, existing.zone)? });
        }
        let existing = commits::decode(existing, key, &*self.codec).ok().map(|(commit, _)| commit);
        Ok(Put::Conflict(Conflict { existing, head: None }))
    }

    async fn latest(&self, key: &K) -> Result<Option<Head<S>>, StorageError> {
        let Ok(name) = StreamName::of(key) else { return Ok(None) };
        let last = reading::last(&self.dynamo, name.as_str()).await.map_err(|error| error.on(key))?;
        let Some(last) = last else { return Ok(None) };
        let number = layout::number(&last).unwrap_or_default();
        let head = HeadItem::from_item(&last).map_err(|error| commits::unreadable(key, number, error))?;
        commits::head(key, &head).map(Some)
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let number = from.map_or(1, Sequence::number);
        self.pages(key.clone(), number, from, number > 1)
    }

    fn events_after(&self, key: &K, end: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.pages(key.clone(), end.map_or(0, Sequence::number).saturating_add(1), None, false)
    }
}

impl<K, S, E, C> DynamoStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    /// Reads the events from `from` on, in the commits that begin at `number` or later. If `include_overlapping` is true, it
    /// also reads a commit that begins before `number` and contains it.
    fn pages(
        &self,
        key: K,
        number: u64,
        from: Option<S>,
        mut include_overlapping: bool,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        try_stream! {
            let Ok(name) = StreamName::of(&key) else { return };
            let about = |error: StorageError| error.on(&key);
            let mut after = None;
            loop {
                let ItemPage { mut items, more } =
                    reading::page(&self.dynamo, name.as_str(), number, after).await.map_err(about)?;
                if include_overlapping && !items.first().is_some_and(|item| layout::number(item) == Ok(number)) {
                    let before = reading::last_up_to(&self.dynamo, name.as_str(), number - 1).await;
                    items.splice(..0, before.map_err(about)?);
                }
                include_overlapping = false;
                let mut items = items.into_iter();
                while items.len() > 0 {
                    let chunk = Chunk::decode_next(&mut items, |_| Some(key.clone()), &*self.codec);
                    let page = Page::starting_at(Arc::new(chunk.commits), from);
                    if !page.is_empty() {
                        yield page;
                    }
                    if let Some(failure) = chunk.failure {
                        Err(failure)?;
                    }
                }
                if more.is_none() {
                    return;
                }
                after = more;
            }
        }
        .boxed()
    }
}

impl<K, S, E, C> Clone for DynamoStorage<K, S, E, C> {
    fn clone(&self) -> Self {
        Self { dynamo: self.dynamo.clone(), codec: Arc::clone(&self.codec), types: PhantomData }
    }
}

impl<K, S, E, C> fmt::Debug for DynamoStorage<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStorage").field("dynamo", &self.dynamo).finish_non_exhaustive()
    }
}
