//! A storage that can be replaced by another one while writers use it.

use std::sync::{Arc, PoisonError, RwLock};

use eventsrc_core::storage::{CommitOf, PageOf, PutOf};
use eventsrc_core::{EventStorage, Head, StorageError};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

/// Handle of a storage that can be replaced. Cheap to clone.
pub(super) struct Swapped<St>(Arc<RwLock<Option<St>>>);

impl<St: Clone> Swapped<St> {
    pub(super) fn new(storage: St) -> Self {
        Self(Arc::new(RwLock::new(Some(storage))))
    }

    /// Replaces the storage for all handles. With `None`, there is no storage until it is replaced again.
    pub(super) fn replace(&self, storage: Option<St>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = storage;
    }

    /// Returns the present storage.
    pub(super) fn current(&self) -> St {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone().expect("no call during a restore")
    }
}

impl<St> Clone for Swapped<St> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: EventStorage + Clone> EventStorage for Swapped<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        self.current().put(commit).await
    }

    async fn recent(&self, key: &St::Key, count: usize) -> Result<Vec<Head<St::Sequence>>, StorageError> {
        self.current().recent(key, count).await
    }

    async fn latest(&self, key: &St::Key) -> Result<Option<Head<St::Sequence>>, StorageError> {
        self.current().latest(key).await
    }

    fn events(
        &self,
        key: &St::Key,
        from: Option<St::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let (storage, key) = (self.current(), key.clone());
        all_pages(async move { storage.events(&key, from).try_collect().await })
    }

    fn events_after(
        &self,
        key: &St::Key,
        end: Option<St::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let (storage, key) = (self.current(), key.clone());
        all_pages(async move { storage.events_after(&key, end).try_collect().await })
    }
}

/// Delivers pages that were all read before, because a stream cannot borrow a storage that may be replaced.
fn all_pages<'a, P: Send + 'a>(
    read: impl Future<Output = Result<Vec<P>, StorageError>> + Send + 'a,
) -> BoxStream<'a, Result<P, StorageError>> {
    stream::once(read).map_ok(|pages| stream::iter(pages.into_iter().map(Ok))).try_flatten().boxed()
}
