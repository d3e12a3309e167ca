//! Event storage in DynamoDB.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, Conflict, Page, PageOf, Put, PutOf};
use eventsrc_core::{EventStorage, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::append::{AppendOutcome, append};
use crate::chunk::Chunk;
use crate::commits::{self, StorableCommit};
use crate::dynamo::Dynamo;
use crate::item::Item;
use crate::layout::{self, CommitItem};
use crate::predecessor;
use crate::reading::{self, ItemPage};

/// Event storage of one key type in a [`Dynamo`]. Cheap to clone.
///
/// Storages with other key and payload types may share the table if no two of them use the same category.
///
/// # Check of a put
///
/// A put stores a commit only if its sequence is free and the commit before it is stored. The condition of the `PutItem`
/// checks the first part. It cannot see another item, so the second part is checked before:
///
/// - The first commit of a stream needs no check.
/// - If a clone of this [`Dynamo`] has read or stored the commit before it within
///   [`Settings::trust_seen_for`](crate::Settings::trust_seen_for), and the id agrees, the check needs no request. Puts, conflicts,
///   `latest`, `recent` and reads of events note the last commit of a stream, for the 10,000 streams used last.
/// - Otherwise, one strongly consistent query reads the last commit that begins before the sequence, without its payloads. It
///   costs 1 read unit for each 4 KB of that commit. This happens to a put after an idle time, and to a put at a token from
///   another process.
/// - If the query shows a conflict or another commit id, one more read returns the commit that holds the sequence.
///
/// The commit before it cannot vanish between check and put, because no commit is ever removed. If another writer takes the
/// sequence in between, the condition of the `PutItem` fails, and the put is a conflict.
///
/// This relies on all writers of the table: a program that puts items without the check can leave a hole in a stream.
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
        let about = |error: StorageError| error.on(&commit.key).at(commit.first);
        let StorableCommit { stream, head, item, bytes } =
            commits::encode(&commit, &*self.codec, self.dynamo.settings().compress_from)?;
        let (stream, number) = (stream.as_str(), commit.first.number());
        let existing = match predecessor::check(&self.dynamo, stream, &commit).await? {
            Some(existing) => existing,
            None => match append(&self.dynamo, item, bytes).await.map_err(about)? {
                AppendOutcome::Stored => {
                    self.dynamo.note_commit(stream, number, head);
                    return Ok(Put::Stored);
                }
                AppendOutcome::Occupied(Some(existing)) => existing,
                AppendOutcome::Occupied(None) => {
                    predecessor::existing(&self.dynamo, stream, number).await.map_err(about)?
                }
            },
        };
        self.dynamo.note_item(stream, &existing);
        self.occupied(&commit, existing)
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let Ok(name) = StreamName::of(key) else { return Ok(Vec::new()) };
        let (mut heads, mut after) = (Vec::new(), None);
        while heads.len() < count {
            let rest = count - heads.len();
            let page = reading::recent(&self.dynamo, name.as_str(), rest, after).await;
            let ItemPage { items, more } = page.map_err(|error| error.on(key))?;
            if let Some(newest) = items.first() {
                self.dynamo.note_item(name.as_str(), newest);
            }
            for item in &items {
                let number = layout::number(item).unwrap_or_default();
                let head = layout::head(item).map_err(|error| commits::unreadable(key, number, error))?;
                heads.push(head.decode(key)?);
            }
            after = more;
            if after.is_none() {
                break;
            }
        }
        Ok(heads)
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let number = from.map_or(1, Sequence::number);
        // If the commit that holds the first event was seen, its item is known, and needs no search.
        let seen = StreamName::of(key).ok().and_then(|name| self.dynamo.seen_lately(name.as_str()));
        let seen = seen.filter(|seen| (seen.first..=seen.last).contains(&number));
        let begin = seen.map_or(number, |seen| seen.first);
        self.pages(key.clone(), begin, from, begin > 1)
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
    /// Returns the result of the put of `commit`, whose sequence is in the commit of the item `existing`.
    fn occupied(&self, commit: &CommitOf<Self>, existing: Item) -> Result<PutOf<Self>, StorageError> {
        let key = &commit.key;
        // An unreadable commit is a conflict, too.
        let Ok(existing) = CommitItem::from_item(existing) else {
            return Ok(Put::Conflict(Conflict { existing: None, head: None }));
        };
        let is_same = existing.commit_id == commit.metadata.commit_id.0
            && (existing.number, existing.zone) == (commit.first.number(), commit.first.zone().0);
        if is_same {
            let head = existing.head();
            return Ok(Put::Repeated { last: head.decode::<K, S>(key)?.sequence });
        }
        let existing = commits::decode(existing, key, &*self.codec).ok().map(|(commit, _)| commit);
        Ok(Put::Conflict(Conflict { existing, head: None }))
    }

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
                if let Some(last) = items.last() {
                    self.dynamo.note_item(name.as_str(), last);
                }
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
