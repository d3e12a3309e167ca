//! Storage adapter that counts calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;

use super::contract::{CommitOf, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::error::StorageError;
use crate::commit::Head;

/// Storage that forwards every call and counts it, so that a test can assert the cost of a command.
#[derive(Debug, Default)]
pub struct CountingStorage<St> {
    storage: St,
    puts: AtomicU64,
    conflicts: AtomicU64,
    latest: AtomicU64,
    reads: AtomicU64,
    pages: AtomicU64,
    errors: AtomicU64,
}

/// Number of calls of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Calls of `put`, with any result.
    pub puts: u64,
    /// Calls of `put` that returned a conflict.
    pub conflicts: u64,
    /// Calls of `latest` and `recent`.
    pub latest: u64,
    /// Calls of `events`, `events_after`, `scan` and `heads`.
    pub reads: u64,
    /// Pages delivered by these calls.
    pub pages: u64,
    /// Errors of all calls.
    pub errors: u64,
}

impl<St> CountingStorage<St> {
    /// Wraps `storage`, with all counts at zero.
    pub fn new(storage: St) -> Self {
        let zero = AtomicU64::default;
        Self {
            storage,
            puts: zero(),
            conflicts: zero(),
            latest: zero(),
            reads: zero(),
            pages: zero(),
            errors: zero(),
        }
    }

    /// Returns the counts since the last call of `take`, and resets them to zero.
    pub fn take(&self) -> CallCounts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        CallCounts {
            puts: take(&self.puts),
            conflicts: take(&self.conflicts),
            latest: take(&self.latest),
            reads: take(&self.reads),
            pages: take(&self.pages),
            errors: take(&self.errors),
        }
    }

    fn count_error<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.is_err() {
            add(&self.errors);
        }
        result
    }

    fn count_pages<'a, P>(
        &'a self,
        pages: BoxStream<'a, Result<P, StorageError>>,
    ) -> BoxStream<'a, Result<P, StorageError>>
    where
        P: Send + 'a,
        St: Sync,
    {
        add(&self.reads);
        pages.inspect(|page| add(if page.is_ok() { &self.pages } else { &self.errors })).boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: EventStorage> EventStorage for CountingStorage<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        add(&self.puts);
        let put = self.count_error(self.storage.put(commit).await)?;
        if matches!(put, Put::Conflict(_)) {
            add(&self.conflicts);
        }
        Ok(put)
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        add(&self.latest);
        self.count_error(self.storage.recent(key, count).await)
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        add(&self.latest);
        self.count_error(self.storage.latest(key).await)
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.count_pages(self.storage.events(key, from))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.count_pages(self.storage.events_after(key, end))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> ScanStorage for CountingStorage<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.count_pages(self.storage.scan(segment))
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.count_pages(self.storage.heads(segment))
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
