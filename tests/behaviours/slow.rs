//! A storage that takes its time, and one that a rival is always ahead of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::storage::{CommitOf, PageOf, Put, PutOf};
use eventsrc_core::{EventStorage, Head, StorageError};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::directory::{Directory, Entry, Letter, saves, set};

/// Answers each call after a delay.
pub(crate) struct Slow<St> {
    storage: St,
    delay: Duration,
    /// Counts the puts before which a rival stored a commit.
    rival: Option<Arc<AtomicU32>>,
}

impl<St> Slow<St> {
    pub(crate) fn new(storage: St, delay: Duration) -> Self {
        Self { storage, delay, rival: None }
    }

    /// Lets a rival store a commit before each put.
    pub(crate) fn with_rival(self, puts: Arc<AtomicU32>) -> Self {
        Self { rival: Some(puts), ..self }
    }
}

impl Clone for Slow<Directory> {
    fn clone(&self) -> Self {
        Self { storage: Arc::clone(&self.storage), delay: self.delay, rival: self.rival.clone() }
    }
}

impl EventStorage for Slow<Directory> {
    type Key = Letter;
    type Sequence = u64;
    type Payload = Entry;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        SystemClock.sleep(self.delay).await;
        if let Some(puts) = &self.rival {
            puts.fetch_add(1, Ordering::Relaxed);
            let rival = saves(Arc::clone(&self.storage));
            let saved = rival.save(&commit.key, eventsrc_core::Operation::insert(set("rival", 0))).await;
            assert!(saved.unwrap().saved().is_some());
        }
        let put = self.storage.put(commit).await?;
        assert!(self.rival.is_none() || matches!(put, Put::Conflict(_)));
        Ok(put)
    }

    async fn recent(&self, key: &Letter, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        SystemClock.sleep(self.delay).await;
        self.storage.recent(key, count).await
    }

    fn events(&self, key: &Letter, from: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let delay = self.delay;
        let pages = self.storage.events(key, from);
        futures::stream::once(async move { SystemClock.sleep(delay).await })
            .flat_map(|()| futures::stream::empty())
            .chain(pages)
            .boxed()
    }
}
