//! Storages that fail when a test says so.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::storage::{CommitOf, PageOf, PutOf};
use eventsrc_core::{ErrorKind, EventStorage, Head, StorageError};
use eventsrc_examples::identity::{Storages, Streams};
use futures::stream::{self, BoxStream, StreamExt};

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The call is carried out and answered.
    Answered,
    /// The call fails and has no effect.
    Failed,
    /// The call is carried out, and its answer is lost.
    Lost,
}

type Fates = Arc<dyn Fn() -> Fate + Send + Sync>;

/// A storage that asks for the fate of each call, after a pause in which other callers may be faster.
pub(super) struct Failing<St> {
    storage: Arc<St>,
    fates: Fates,
}

pub(super) type FailingStorages<S> = Streams<
    Failing<<S as Storages>::Users>,
    Failing<<S as Storages>::Groups>,
    Failing<<S as Storages>::Directory>,
>;

/// Wraps `storages`. All their calls share one source of fates.
pub(super) fn failing<S: Storages>(
    storages: &S,
    fates: impl Fn() -> Fate + Send + Sync + 'static,
) -> FailingStorages<S> {
    let fates: Fates = Arc::new(fates);
    Streams {
        users: Arc::new(Failing { storage: storages.users(), fates: Arc::clone(&fates) }),
        groups: Arc::new(Failing { storage: storages.groups(), fates: Arc::clone(&fates) }),
        directory: Arc::new(Failing { storage: storages.directory(), fates }),
    }
}

impl<St: EventStorage> Failing<St> {
    /// Fails before `call`, after it, or not at all.
    async fn with_fate<T>(
        &self,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        tokio::task::yield_now().await;
        match (self.fates)() {
            Fate::Answered => call.await,
            Fate::Failed => Err(out_of_reach()),
            Fate::Lost => call.await.and_then(|_| Err(out_of_reach())),
        }
    }
}

impl<St: EventStorage> EventStorage for Failing<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        self.with_fate(self.storage.put(commit)).await
    }

    async fn recent(&self, key: &St::Key, count: usize) -> Result<Vec<Head<St::Sequence>>, StorageError> {
        self.with_fate(self.storage.recent(key, count)).await
    }

    fn events(
        &self,
        key: &St::Key,
        from: Option<St::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match (self.fates)() {
            Fate::Answered => self.storage.events(key, from),
            Fate::Failed | Fate::Lost => stream::iter([Err(out_of_reach())]).boxed(),
        }
    }
}

impl<St> fmt::Debug for Failing<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failing").finish_non_exhaustive()
    }
}

fn out_of_reach() -> StorageError {
    StorageError::new(ErrorKind::Unavailable, "the storage is out of reach")
}
