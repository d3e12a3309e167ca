//! Feeds that read a storage.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};

use super::contract::{Acknowledgement, Change, Delivery};
use crate::storage::{ErrorKind, EventStorage, Page, StorageError};
use crate::stream::{Sequence, StreamKey};

/// The changes that are found in `St`, together what one delivery brings.
pub(super) type ChangesOf<St> =
    Vec<Change<<St as EventStorage>::Key, <St as EventStorage>::Sequence, <St as EventStorage>::Payload>>;

/// What a storage is found to have, as deliveries.
pub(super) struct Reading<St: EventStorage>(BoxStream<'static, Result<ChangesOf<St>, StorageError>>);

impl<St: EventStorage> Reading<St> {
    /// What `changes` gives. It goes on after an error of kind `Unavailable`.
    pub(super) fn new(
        changes: impl Stream<Item = Result<ChangesOf<St>, StorageError>> + Send + 'static,
    ) -> Self {
        Self(changes.boxed())
    }

    /// The next delivery; nothing is lost if this is dropped.
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

/// The commits of a page. Of those that it cuts, the stream is named: a part of a commit is none.
pub(super) fn changes<K: StreamKey, S: Sequence, E>(page: &Page<K, S, E>) -> Vec<Change<K, S, E>> {
    let parts = page.parts().map(|(commit, places)| match places.len() == commit.len() {
        true => Change::Commit(Arc::clone(commit)),
        false => Change::Stream(commit.key.clone()),
    });
    parts.collect()
}
