//! Shared parts of the feeds that read a storage.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};

use super::contract::{Acknowledgement, Change, Delivery};
use crate::storage::{ErrorKind, EventStorage, Page, StorageError};
use crate::stream::{Sequence, StreamKey};

/// Changes found in `St` that make one delivery.
pub(super) type ChangesOf<St> =
    Vec<Change<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>>;

/// A stream of changes read from a storage, as deliveries.
pub(super) struct Reading<St: EventStorage>(BoxStream<'static, Result<ChangesOf<St>, StorageError>>);

impl<St: EventStorage> Reading<St> {
    /// Wraps `changes`, which continue after an error of kind `Unavailable`; any other error ends the deliveries.
    pub(super) fn new(
        changes: impl Stream<Item = Result<ChangesOf<St>, StorageError>> + Send + 'static,
    ) -> Self {
        Self(changes.boxed())
    }

    /// Returns the next delivery. Cancel safe: dropping the future loses nothing.
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<Delivery<St::Key, St::Sequence, St::Payload>>, StorageError> {
        match self.0.next().await {
            Some(Ok(changes)) => Ok(Some(Delivery { changes, acknowledgement: Acknowledgement::none() })),
            Some(Err(error)) => {
                if error.kind() != ErrorKind::Unavailable {
                    self.0 = stream::empty().boxed();
                }
                Err(error)
            }
            None => Ok(None),
        }
    }
}

/// Returns the commits of a page as changes. A commit that the page cuts becomes a hint that names its stream, because
/// a feed delivers whole commits only.
pub(super) fn changes<K: StreamKey, S: Sequence, E>(page: &Page<K, S, E>) -> Vec<Change<K, S, E>> {
    let parts = page.parts().map(|(commit, indexes)| match indexes.len() == commit.len() {
        true => Change::Commit(Arc::clone(commit)),
        false => Change::Stream(commit.key.clone()),
    });
    parts.collect()
}
