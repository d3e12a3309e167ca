//! A storage that counts what is asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;

use super::contract::{CommitOf, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::error::StorageError;
use crate::commit::Head;

/// A storage that passes every call on and counts it: what a command costs can then be asserted.
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

/// How often a storage was asked for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Puts, whatever they came to.
    pub puts: u64,
    /// Puts that came to a conflict.
    pub conflicts: u64,
    /// Calls of `latest`.
    pub latest: u64,
    /// Calls of `events`, `scan` and `heads`.
    pub reads: u64,
    /// Pages that those handed over.
    pub pages: u64,
    /// Errors, of any call.
    pub errors: u64,
}

impl<St> CountingStorage<St> {
    /// `storage`, counted from zero.
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

    /// The calls since the last time they were taken.
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

    fn outcome<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.is_err() {
            add(&self.errors);
        }
        result
    }

    fn counted<'a, P>(
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

impl<St: EventStorage> EventStorage for CountingStorage<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        add(&self.puts);
        let put = self.outcome(self.storage.put(commit).await)?;
        if matches!(put, Put::Conflict(_)) {
            add(&self.conflicts);
        }
        Ok(put)
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        add(&self.latest);
        self.outcome(self.storage.latest(key).await)
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.counted(self.storage.events(key, from))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.counted(self.storage.events_after(key, end))
    }
}

impl<St: ScanStorage> ScanStorage for CountingStorage<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.counted(self.storage.scan(segment))
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.counted(self.storage.heads(segment))
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
