//! Events in DynamoDB.

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

use crate::append::{Appended, append};
use crate::chunk::Chunk;
use crate::commits;
use crate::dynamo::Dynamo;
use crate::layout::{self, CommitItem, HeadItem};
use crate::reading::{self, Items};

/// The events of one type of key in a [`Dynamo`]. Cheap to clone.
///
/// Storages of other keys and payloads may share the table, as long as no stream's category is used by two of them.
pub struct DynamoStorage<K, S, E, C = Json> {
    pub(crate) dynamo: Dynamo,
    pub(crate) codec: Arc<C>,
    types: PhantomData<fn(K, S) -> E>,
}

impl<K, S, E> DynamoStorage<K, S, E> {
    /// Events of `dynamo`, as JSON.
    pub fn new(dynamo: &Dynamo) -> Self {
        Self::with_codec(dynamo, Json)
    }
}

impl<K, S, E, C> DynamoStorage<K, S, E, C> {
    /// Events of `dynamo`, as `codec` writes them.
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
            Appended::Stored => return Ok(Put::Stored),
            Appended::Taken(Some(existing)) => existing,
            Appended::Taken(None) => {
                let stream = format!("{}/{}", key.category(), key.id());
                let existing = reading::commit(&self.dynamo, &stream, commit.first.number()).await;
                existing.map_err(about)?.ok_or_else(|| {
                    let what = "what is in the way of the commit was removed, which must never be";
                    about(StorageError::new(ErrorKind::Corrupt, what))
                })?
            }
        };
        // What is in the way may be unreadable; that it is in the way is the answer.
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
        let head = HeadItem::from_item(&last).map_err(|why| commits::unreadable(key, number, why))?;
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
    /// The events from `from` on, in the commits that begin at `number` or later, and, if that is to be looked for, in one that
    /// begins before and goes on to `number`.
    fn pages(
        &self,
        key: K,
        number: u64,
        from: Option<S>,
        mut look_before: bool,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        try_stream! {
            let Ok(name) = StreamName::of(&key) else { return };
            let about = |error: StorageError| error.on(&key);
            let mut after = None;
            loop {
                let Items { mut items, more } =
                    reading::page(&self.dynamo, name.as_str(), number, after).await.map_err(about)?;
                if look_before && !items.first().is_some_and(|item| layout::number(item) == Ok(number)) {
                    let before = reading::last_up_to(&self.dynamo, name.as_str(), number - 1).await;
                    items.splice(..0, before.map_err(about)?);
                }
                look_before = false;
                let mut items = items.into_iter();
                while items.len() > 0 {
                    let chunk = Chunk::take(&mut items, |_| Some(key.clone()), &*self.codec);
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
