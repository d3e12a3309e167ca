//! The reads of a synchronizer from the event storage.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::commit::Head;
use crate::storage::{Page, ScanStorage, Segment, StorageError};

/// An object-safe event storage, so that the type of a synchronizer depends on its view only.
pub(super) trait Source<K, S, E>: Send + Sync {
    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<Page<K, S, E>, StorageError>>;

    fn latest<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<Head<S>>, StorageError>>;

    fn heads(&self) -> BoxStream<'_, Result<Vec<(K, Head<S>)>, StorageError>>;
}

impl<St: ScanStorage> Source<St::Key, St::Sequence, St::Payload> for St {
    fn events(
        &self,
        key: &St::Key,
        from: Option<St::Sequence>,
    ) -> BoxStream<'_, Result<Page<St::Key, St::Sequence, St::Payload>, StorageError>> {
        St::events(self, key, from)
    }

    fn latest<'a>(
        &'a self,
        key: &'a St::Key,
    ) -> BoxFuture<'a, Result<Option<Head<St::Sequence>>, StorageError>> {
        Box::pin(St::latest(self, key))
    }

    fn heads(&self) -> BoxStream<'_, Result<Vec<(St::Key, Head<St::Sequence>)>, StorageError>> {
        St::heads(self, Segment::ALL)
    }
}
