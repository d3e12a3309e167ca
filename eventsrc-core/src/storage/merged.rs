//! Storage adapter that merges the streams of two storages.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{CommitOf, EventStorage, HeadsOf, PageOf, PutOf, ScanStorage, Segment};
use super::error::StorageError;
use super::page::Page;
use crate::commit::{Commit, Head, Payload};
use crate::stream::{Sequence, StreamKey};

/// Two storages with the same streams, read as one, as by a reader of the stores of two regions. To move from one storage
/// to another, use [`Migration`](super::Migration).
///
/// Reads deliver the events of both storages in order, each sequence once. If both storages have a sequence, the event
/// of the first one is delivered. `latest` is the later head. Puts go to the first storage, which refuses a commit whose
/// predecessor it does not have; the second is never written.
///
/// # Laws
///
/// For the answers of `latest`, `recent` and `events`, and for the effect of a put:
/// - **idempotent:** `Merged(a, a)` is `a`;
/// - **associative:** `Merged(a, Merged(b, c))` is `Merged(Merged(a, b), c)`.
#[derive(Debug, Clone)]
pub struct Merged<A, B> {
    first: A,
    second: B,
}

impl<A, B> Merged<A, B>
where
    A: EventStorage,
    B: EventStorage<Key = A::Key, Sequence = A::Sequence, Payload = A::Payload>,
{
    /// Merges `first`, which is read and written, with `second`, which is only read.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A, B> EventStorage for Merged<A, B>
where
    A: EventStorage,
    B: EventStorage<Key = A::Key, Sequence = A::Sequence, Payload = A::Payload>,
{
    type Key = A::Key;
    type Sequence = A::Sequence;
    type Payload = A::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        self.first.put(commit).await
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        let (first, second) =
            futures::try_join!(self.first.recent(key, count), self.second.recent(key, count))?;
        let mut heads = first;
        heads.extend(second);
        // The sort is stable, so that the head of the first storage comes before an equal one of the second.
        heads.sort_by_key(|head| Reverse(head.sequence));
        heads.dedup_by(|second, first| second.sequence == first.sequence);
        heads.truncate(count);
        Ok(heads)
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        let (first, second) = futures::try_join!(self.first.latest(key), self.second.latest(key))?;
        Ok(match (first, second) {
            (Some(a), Some(b)) if b.sequence > a.sequence => Some(b),
            (a, b) => a.or(b),
        })
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        merged(self.first.events(key, from), self.second.events(key, from))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        merged(self.first.events_after(key, end), self.second.events_after(key, end))
    }
}

/// Merges the events of one stream in two storages.
fn merged<'a, K, S, E>(
    first: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
    second: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
) -> BoxStream<'a, Result<Page<K, S, E>, StorageError>>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
{
    let (mut first, mut second) = (Cursor::new(first), Cursor::new(second));
    try_stream! {
        let mut delivered = None;
        let mut whole = Vec::new();
        loop {
            let a = first.after(delivered).await?;
            let mut b = second.after(delivered).await?;
            // An event that both storages have does not split the commit of the first.
            while b.is_some_and(|b| first.holds(b)) {
                b = second.after(b).await?;
            }
            let part = match (a, b) {
                (None, None) => break,
                (Some(a), b) if b.is_none_or(|b| a < b) => first.part_before(b),
                (a, _) => second.part_before(a),
            };
            delivered = Some(part.end);
            if part.indices.len() == part.commit.len() {
                whole.push(part.commit);
            }
            else {
                if !whole.is_empty() {
                    yield Page::new(std::mem::take(&mut whole));
                }
                yield Page::part_of(part.commit, part.indices);
            }
            if whole.len() == COMMITS_PER_PAGE {
                yield Page::new(std::mem::take(&mut whole));
            }
        }
        if !whole.is_empty() {
            yield Page::new(whole);
        }
    }
    .boxed()
}

/// Segments are assigned by stream name, because each storage may assign its streams differently. `heads` reads all
/// heads of both storages and holds those of the segment in memory. `scan` reads the streams of the segment one after
/// the other.
#[deny(clippy::missing_trait_methods)]
impl<A, B> ScanStorage for Merged<A, B>
where
    A: ScanStorage,
    B: ScanStorage<Key = A::Key, Sequence = A::Sequence, Payload = A::Payload>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        try_stream! {
            let mut heads = self.heads(segment);
            while let Some(heads) = heads.try_next().await? {
                for (key, _) in heads {
                    let mut pages = self.events(&key, None);
                    while let Some(page) = pages.try_next().await? {
                        yield page;
                    }
                }
            }
        }
        .boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        try_stream! {
            let mut later = HashMap::new();
            let mut pages = self.first.heads(Segment::ALL).chain(self.second.heads(Segment::ALL));
            while let Some(heads) = pages.try_next().await? {
                for (key, head) in heads.into_iter().filter(|(key, _)| segment.has(key)) {
                    let known = later.entry(key).or_insert(head);
                    if head.sequence > known.sequence {
                        *known = head;
                    }
                }
            }
            let mut pages = futures::stream::iter(later).chunks(HEADS_PER_PAGE);
            while let Some(heads) = pages.next().await {
                yield heads;
            }
        }
        .boxed()
    }
}

const COMMITS_PER_PAGE: usize = 256;

const HEADS_PER_PAGE: usize = 256;

/// Cursor in the events of one of the storages.
struct Cursor<'a, K, S, E> {
    pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
    /// Parts of the current page that are not delivered yet, in reverse order.
    parts: Vec<(Arc<Commit<K, S, E>>, std::ops::Range<usize>)>,
}

/// Some consecutive events of one commit.
struct Part<K, S, E> {
    commit: Arc<Commit<K, S, E>>,
    indices: std::ops::Range<usize>,
    /// Sequence of the last of these events.
    end: S,
}

impl<'a, K, S: Sequence, E> Cursor<'a, K, S, E> {
    fn new(pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>) -> Self {
        Self { pages, parts: Vec::new() }
    }

    /// Returns the sequence of the next event after `delivered`.
    async fn after(&mut self, delivered: Option<S>) -> Result<Option<S>, StorageError> {
        loop {
            while let Some((commit, indices)) = self.parts.last_mut() {
                let next = indices.clone().find(|index| Some(commit.sequence(*index)) > delivered);
                if let Some(index) = next {
                    indices.start = index;
                    return Ok(Some(commit.sequence(index)));
                }
                self.parts.pop();
            }
            let Some(page) = self.pages.try_next().await? else { return Ok(None) };
            self.parts.extend(page.parts().map(|(commit, indices)| (Arc::clone(commit), indices)));
            self.parts.reverse();
        }
    }

    /// True if `sequence` is one of the undelivered events of the commit that `after` found.
    fn holds(&self, sequence: S) -> bool {
        self.parts.last().is_some_and(|(commit, indices)| {
            let index = sequence.number().checked_sub(commit.first.number());
            sequence.zone() == commit.first.zone()
                && index.is_some_and(|index| indices.contains(&(index as usize)))
        })
    }

    /// Returns the next events of the current commit that are before `limit`. The first of them must be before `limit`.
    fn part_before(&mut self, limit: Option<S>) -> Part<K, S, E> {
        let (commit, indices) = self.parts.last_mut().expect("`after` found an event");
        let end = limit.map_or(indices.end, |limit| indices.end.min(commit.events_before(limit)));
        let part = indices.start..end;
        indices.start = end;
        let last = commit.sequence(end - 1);
        Part { commit: Arc::clone(commit), indices: part, end: last }
    }
}
