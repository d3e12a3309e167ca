//! Storage adapters with another key type or another sequence type.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{CommitOf, Conflict, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::error::{ErrorKind, StorageError};
use super::page::Page;
use crate::commit::{Commit, Head};
use crate::stream::{Sequence, StreamKey};

/// Storage with another key type: callers use `K`, and `St` stores its own keys.
///
/// The two functions must be inverse to each other. A scan skips stored keys that have no `K`, so one storage can be
/// used as several, one for each kind of key. Errors name the stream by its `K`; errors of a scan name it by its
/// stored key.
pub struct MapKey<St, K, In, Out> {
    storage: St,
    inward: In,
    outward: Out,
    key: PhantomData<fn() -> K>,
}

impl<St: EventStorage, K, In, Out> MapKey<St, K, In, Out>
where
    In: Fn(&K) -> St::Key,
    Out: Fn(&St::Key) -> Option<K>,
{
    /// Wraps `storage`. `inward` converts a `K` to a stored key, and `outward` converts it back.
    pub fn new(storage: St, inward: In, outward: Out) -> Self {
        Self { storage, inward, outward, key: PhantomData }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St, K, In, Out> EventStorage for MapKey<St, K, In, Out>
where
    St: EventStorage<Payload: Clone>,
    K: StreamKey,
    In: Fn(&K) -> St::Key + Send + Sync + 'static,
    Out: Fn(&St::Key) -> Option<K> + Send + Sync + 'static,
{
    type Key = K;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let key = commit.key.clone();
        let first = commit.first;
        let put = self.storage.put(convert(commit, (self.inward)(&key), first)).await;
        match put.map_err(|error| error.on(&key))? {
            Put::Stored => Ok(Put::Stored),
            Put::Repeated { last } => Ok(Put::Repeated { last }),
            Put::Conflict(Conflict { existing, head }) => {
                let existing = existing.map(|commit| {
                    let first = commit.first;
                    convert(commit, key, first)
                });
                Ok(Put::Conflict(Conflict { existing, head }))
            }
        }
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        self.storage.recent(&(self.inward)(key), count).await.map_err(|error| error.on(key))
    }

    async fn latest(&self, key: &K) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        self.storage.latest(&(self.inward)(key)).await.map_err(|error| error.on(key))
    }

    fn events(
        &self,
        key: &K,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        outward_pages(self.storage.events(&(self.inward)(key), from), key.clone())
    }

    fn events_after(
        &self,
        key: &K,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        outward_pages(self.storage.events_after(&(self.inward)(key), end), key.clone())
    }
}

/// Converts the pages of one stream, whose outer key is `key`.
fn outward_pages<'a, K, K2, S, E>(
    pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
    key: K2,
) -> BoxStream<'a, Result<Page<K2, S, E>, StorageError>>
where
    K: Send + Sync + 'a,
    K2: StreamKey,
    S: Sequence,
    E: Clone + Send + Sync + 'a,
{
    let outward = move |page: Result<_, StorageError>| {
        let page = page.map_err(|error| error.on(&key))?;
        Ok(map_page(page, |_| Some(key.clone()), Some))
    };
    pages.map(outward).boxed()
}

#[deny(clippy::missing_trait_methods)]
impl<St, K, In, Out> ScanStorage for MapKey<St, K, In, Out>
where
    St: ScanStorage<Payload: Clone>,
    K: StreamKey,
    In: Fn(&K) -> St::Key + Send + Sync + 'static,
    Out: Fn(&St::Key) -> Option<K> + Send + Sync + 'static,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.scan(segment).map(|page| Ok(map_page(page?, &self.outward, Some))).boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let outward = |heads: HeadsOf<St>| {
            heads.into_iter().filter_map(|(key, head)| Some(((self.outward)(&key)?, head))).collect()
        };
        self.storage.heads(segment).map_ok(outward).boxed()
    }
}

/// Storage with another sequence type: callers use `S`, and `St` stores its own sequences.
///
/// The two functions must be inverse to each other, and preserve the order and the numbers. Errors of a put name the
/// sequence as `S`; errors of a read name the stored sequence.
pub struct MapSequence<St, S, In, Out> {
    storage: St,
    inward: In,
    outward: Out,
    sequence: PhantomData<fn() -> S>,
}

impl<St: EventStorage, S, In, Out> MapSequence<St, S, In, Out>
where
    In: Fn(S) -> Option<St::Sequence>,
    Out: Fn(St::Sequence) -> Option<S>,
{
    /// Wraps `storage`. `inward` converts an `S` to a stored sequence, and `outward` converts it back; both return
    /// `None` for a sequence without a counterpart.
    pub fn new(storage: St, inward: In, outward: Out) -> Self {
        Self { storage, inward, outward, sequence: PhantomData }
    }
}

impl<St, S, In, Out> MapSequence<St, S, In, Out>
where
    St: EventStorage,
    S: Sequence,
    In: Fn(S) -> Option<St::Sequence>,
    Out: Fn(St::Sequence) -> Option<S>,
{
    fn inner(&self, key: &St::Key, outer: Option<S>) -> Result<Option<St::Sequence>, StorageError> {
        outer.map(|outer| (self.inward)(outer).ok_or_else(|| unmapped(key, outer))).transpose()
    }

    fn head(&self, key: &St::Key, head: Head<St::Sequence>) -> Result<Head<S>, StorageError> {
        let sequence = (self.outward)(head.sequence).ok_or_else(|| unmapped(key, head.sequence))?;
        Ok(Head { sequence, time: head.time, commit_id: head.commit_id })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St, S, In, Out> EventStorage for MapSequence<St, S, In, Out>
where
    St: EventStorage<Payload: Clone>,
    S: Sequence,
    In: Fn(S) -> Option<St::Sequence> + Send + Sync + 'static,
    Out: Fn(St::Sequence) -> Option<S> + Send + Sync + 'static,
{
    type Key = St::Key;
    type Sequence = S;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let (key, first) = (commit.key.clone(), commit.first);
        let inward = (self.inward)(first).ok_or_else(|| unmapped(&key, first))?;
        let put = self.storage.put(convert(commit, key.clone(), inward)).await;
        // An error of kind `Diverged` is about the sequence before the commit.
        let before = S::from_parts(first.number().saturating_sub(1), first.zone());
        let about = |error: StorageError| match before.filter(|_| error.kind() == ErrorKind::Diverged) {
            Some(before) => error.at(before),
            None => error.at(first),
        };
        match put.map_err(about)? {
            Put::Stored => Ok(Put::Stored),
            Put::Repeated { last } => {
                let last = (self.outward)(last).ok_or_else(|| unmapped(&key, last))?;
                Ok(Put::Repeated { last })
            }
            Put::Conflict(Conflict { existing, head }) => {
                let existing = existing.and_then(|commit| {
                    (self.outward)(commit.first).map(|first| convert(commit, key.clone(), first))
                });
                let head = head.map(|head| self.head(&key, head)).transpose()?;
                Ok(Put::Conflict(Conflict { existing, head }))
            }
        }
    }

    async fn recent(&self, key: &St::Key, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let heads = self.storage.recent(key, count).await?;
        heads.into_iter().map(|head| self.head(key, head)).collect()
    }

    async fn latest(&self, key: &St::Key) -> Result<Option<Head<S>>, StorageError> {
        self.storage.latest(key).await?.map(|head| self.head(key, head)).transpose()
    }

    fn events(&self, key: &St::Key, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match self.inner(key, from) {
            Ok(inner) => self.storage.events(key, inner).map(|page| self.outward_page(page?)).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    fn events_after(
        &self,
        key: &St::Key,
        end: Option<S>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match self.inner(key, end) {
            Ok(inner) => self.storage.events_after(key, inner).map(|page| self.outward_page(page?)).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St, S, In, Out> ScanStorage for MapSequence<St, S, In, Out>
where
    St: ScanStorage<Payload: Clone>,
    S: Sequence,
    In: Fn(S) -> Option<St::Sequence> + Send + Sync + 'static,
    Out: Fn(St::Sequence) -> Option<S> + Send + Sync + 'static,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.scan(segment).map(|page| self.outward_page(page?)).boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let outward = |(key, head)| {
            let head = self.head(&key, head)?;
            Ok((key, head))
        };
        self.storage.heads(segment).map(move |heads| heads?.into_iter().map(outward).collect()).boxed()
    }
}

impl<St, S, In, Out> MapSequence<St, S, In, Out>
where
    St: EventStorage<Payload: Clone>,
    S: Sequence,
    Out: Fn(St::Sequence) -> Option<S>,
{
    /// Converts a page. A stored sequence without a counterpart is an error, because skipping it would leave a hole.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the first such sequence.
    fn outward_page(&self, page: PageOf<St>) -> Result<Page<St::Key, S, St::Payload>, StorageError> {
        let without_counterpart = page.commits().iter().find(|commit| (self.outward)(commit.first).is_none());
        match without_counterpart {
            Some(commit) => Err(unmapped(&commit.key, commit.first)),
            None => Ok(map_page(page, |key| Some(key.clone()), &self.outward)),
        }
    }
}

/// Replaces key and sequence of a commit. Moves the payloads of a commit with one owner, and clones those of a shared
/// one.
fn convert<K, S, E: Clone, K2, S2>(
    commit: Arc<Commit<K, S, E>>,
    key: K2,
    first: S2,
) -> Arc<Commit<K2, S2, E>> {
    let previous = commit.previous;
    let (time, metadata, payloads) = match Arc::try_unwrap(commit) {
        Ok(commit) => (commit.time, commit.metadata, commit.payloads),
        Err(shared) => (shared.time, shared.metadata.clone(), shared.payloads.clone()),
    };
    Arc::new(Commit { key, first, previous, time, metadata, payloads })
}

fn map_page<K, S: Sequence, E: Clone, K2, S2: Sequence>(
    page: Page<K, S, E>,
    key: impl Fn(&K) -> Option<K2>,
    sequence: impl Fn(S) -> Option<S2>,
) -> Page<K2, S2, E> {
    page.filter_map_commits(|commit| {
        let (key, first) = (key(&commit.key)?, sequence(commit.first)?);
        Some(convert(commit, key, first))
    })
}

fn unmapped<K: StreamKey, S: Sequence>(key: &K, sequence: S) -> StorageError {
    StorageError::new(ErrorKind::Invalid, "the sequence has no counterpart in the storage")
        .on(key)
        .at(sequence)
}
