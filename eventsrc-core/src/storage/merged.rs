//! Two storages read as one.

use std::collections::HashMap;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{CommitOf, EventStorage, HeadsOf, PageOf, PutOf, ScanStorage, Segment};
use super::error::StorageError;
use super::page::Page;
use crate::commit::{Commit, Head};
use crate::stream::Sequence;

/// Two storages seen as one: for moving from one to the other while writers go on, or for reading the stores of
/// two regions together.
///
/// Reads give the events of both in order, each sequence once; where both have it, the first's is taken. `latest`
/// is the later of both. Puts go to the first; the second is never written.
///
/// # Laws
///
/// On what `latest` and `events` answer, and on what a put leaves behind:
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
    /// `first`, which is written, and `second`, which is only read.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

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
        let mut first = Cursor::new(self.first.events(key, from));
        let mut second = Cursor::new(self.second.events(key, from));
        try_stream! {
            let mut delivered = None;
            let mut whole = Vec::new();
            loop {
                let a = first.after(delivered).await?;
                let mut b = second.after(delivered).await?;
                // What both have is no reason to cut the first's commit.
                while b.is_some_and(|b| first.holds(b)) {
                    b = second.after(b).await?;
                }
                let part = match (a, b) {
                    (None, None) => break,
                    (Some(a), b) if b.is_none_or(|b| a < b) => first.part_before(b),
                    (a, _) => second.part_before(a),
                };
                delivered = Some(part.end);
                if part.places.len() == part.commit.len() {
                    whole.push(part.commit);
                }
                else {
                    if !whole.is_empty() {
                        yield Page::new(std::mem::take(&mut whole));
                    }
                    yield Page::part_of(part.commit, part.places);
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
}

/// A segment's share of the streams goes by their names, since each storage may share its streams out in a way of its own:
/// so both are asked for all their heads, and those of the segment are held in memory at once. A scan reads the streams
/// one after the other.
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

/// A place in the events of one of the storages.
struct Cursor<'a, K, S, E> {
    pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
    /// The parts of the current page that were not delivered, in reverse order.
    parts: Vec<(Arc<Commit<K, S, E>>, std::ops::Range<usize>)>,
}

/// Some consecutive events of one commit; `end` is the sequence of the last.
struct Part<K, S, E> {
    commit: Arc<Commit<K, S, E>>,
    places: std::ops::Range<usize>,
    end: S,
}

impl<'a, K, S: Sequence, E> Cursor<'a, K, S, E> {
    fn new(pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>) -> Self {
        Self { pages, parts: Vec::new() }
    }

    /// The sequence of the next event after `delivered`.
    async fn after(&mut self, delivered: Option<S>) -> Result<Option<S>, StorageError> {
        loop {
            while let Some((commit, places)) = self.parts.last_mut() {
                let events = commit.events().skip(places.start).take(places.len());
                let next =
                    events.map(|event| (event.index, event.sequence())).find(|(_, s)| Some(*s) > delivered);
                if let Some((place, sequence)) = next {
                    places.start = place;
                    return Ok(Some(sequence));
                }
                self.parts.pop();
            }
            let Some(page) = self.pages.try_next().await? else { return Ok(None) };
            self.parts.extend(page.parts().map(|(commit, places)| (Arc::clone(commit), places)));
            self.parts.reverse();
        }
    }

    /// Whether `sequence` is one of the next events of the commit that `after` found.
    fn holds(&self, sequence: S) -> bool {
        self.parts.last().is_some_and(|(commit, places)| {
            let place = sequence.number().checked_sub(commit.first.number());
            sequence.zone() == commit.first.zone()
                && place.is_some_and(|place| places.contains(&(place as usize)))
        })
    }

    /// The next events, up to `limit`, which lies after the first of them, or to the end of their commit.
    fn part_before(&mut self, limit: Option<S>) -> Part<K, S, E> {
        let (commit, places) = self.parts.last_mut().expect("`after` found an event");
        let end = limit.map_or(places.end, |limit| places.end.min(commit.events_before(limit)));
        let part = places.start..end;
        places.start = end;
        let last = commit.events().nth(end - 1).expect("a part has an event").sequence();
        Part { commit: Arc::clone(commit), places: part, end: last }
    }
}
