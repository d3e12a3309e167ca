//! Reference implementation of an event storage, in memory. It defines the behaviour of all other backends.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::contract::{CommitOf, Conflict, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::encoded_commit::{check_follows, storable_name};
use super::error::StorageError;
use super::page::Page;
use crate::commit::{Commit, Head, Payload};
use crate::stream::{Sequence, StreamKey};

/// Event storage in memory: the reference implementation, and a storage for tests. The events are lost when it is
/// dropped.
///
/// One read-write lock guards the table of streams. Readers hold it only while they collect the pages of a stream,
/// which they share with the storage.
pub struct MemoryStorage<K, S, E> {
    streams: RwLock<HashMap<K, Stream<K, S, E>>>,
}

/// Commits of a stream, in chunks that readers get as pages. All chunks but the last are full and never change again.
/// The last one is copied only if a reader holds it while a writer appends to it.
type Stream<K, S, E> = Vec<Arc<Vec<Arc<Commit<K, S, E>>>>>;

const COMMITS_PER_CHUNK: usize = 256;

const HEADS_PER_PAGE: usize = 256;

impl<K: StreamKey, S: Sequence, E: Payload> EventStorage for MemoryStorage<K, S, E> {
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        storable_name(&commit)?;
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        let head = streams.get(&commit.key).and_then(|chunks| chunks.last()?.last()).map(|last| last.head());
        if let Some(head) = head.filter(|head| commit.first.number() <= head.sequence.number()) {
            let existing = holder(&streams[&commit.key], commit.first);
            return Ok(match existing {
                Some(existing) if existing.is(&commit) => Put::Repeated { last: existing.last() },
                existing => Put::Conflict(Conflict { existing, head: Some(head) }),
            });
        }
        check_follows(&commit, head.as_ref())?;
        let chunks = streams.entry(commit.key.clone()).or_default();
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < COMMITS_PER_CHUNK => Arc::make_mut(chunk).push(commit),
            _ => chunks.push(Arc::new(vec![commit])),
        }
        Ok(Put::Stored)
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let commits = streams.get(key).into_iter().flatten().rev().flat_map(|chunk| chunk.iter().rev());
        Ok(commits.take(count).map(|commit| commit.head()).collect())
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let chunks = streams.get(key).map_or(&[][..], |chunks| &chunks[chunk_of(chunks, from)..]).to_vec();
        stream::iter(chunks)
            .map(move |chunk| Page::starting_at(chunk, from))
            .filter(|page| std::future::ready(!page.is_empty()))
            .map(Ok)
            .boxed()
    }
}

impl<K: StreamKey, S: Sequence, E: Payload> ScanStorage for MemoryStorage<K, S, E> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<K> = streams.keys().filter(|key| segment.has(*key)).cloned().collect();
        stream::iter(keys).flat_map(|key| self.events(&key, None)).boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let head = |(key, chunks): (&K, &Stream<K, S, E>)| Some((key.clone(), chunks.last()?.last()?.head()));
        let heads: Vec<_> = streams.iter().filter(|(key, _)| segment.has(*key)).filter_map(head).collect();
        stream::iter(heads).chunks(HEADS_PER_PAGE).map(Ok).boxed()
    }
}

/// Returns the index of the chunk that holds `from`, or the number of chunks if `from` is beyond the end.
fn chunk_of<K, S: Sequence, E>(chunks: &Stream<K, S, E>, from: Option<S>) -> usize {
    let ends_before =
        |from| move |chunk: &Arc<Vec<Arc<Commit<K, S, E>>>>| chunk.last().is_some_and(|c| c.last() < from);
    from.map_or(0, |from| chunks.partition_point(ends_before(from)))
}

/// Returns the commit that holds the number of `sequence`.
fn holder<K, S: Sequence, E>(chunks: &Stream<K, S, E>, sequence: S) -> Option<Arc<Commit<K, S, E>>> {
    let number = sequence.number();
    let chunk =
        &chunks[chunks.partition_point(|chunk| chunk.last().is_some_and(|c| c.last().number() < number))];
    let index = chunk.partition_point(|commit| commit.last().number() < number);
    chunk.get(index).filter(|commit| commit.first.number() <= number).cloned()
}

impl<K, S, E> Default for MemoryStorage<K, S, E> {
    fn default() -> Self {
        Self { streams: RwLock::default() }
    }
}

impl<K, S, E> fmt::Debug for MemoryStorage<K, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").finish_non_exhaustive()
    }
}
