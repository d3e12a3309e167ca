//! An event storage that fails now and then.

use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::clock::Clock;
use eventsrc_core::storage::{CommitOf, HeadsOf, PageOf, PutOf, ScanStorage, Segment};
use eventsrc_core::{EventStorage, Head, StorageError};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::{FaultSource, Faults, Injected};

/// A storage that passes calls on, and now and then fails, loses a reply, breaks a read off, or takes its time.
///
/// Every fault is one that the contract of [`EventStorage`] allows: an `Err` from a put means unknown, and a read that
/// breaks off ends with an error. So what is built on a storage has to bear them all.
///
/// ```
/// use std::sync::Arc;
///
/// use eventsrc_core::{MemoryStorage, StreamName};
/// use eventsrc_core::clock::SystemClock;
/// use eventsrc_testkit::{Faults, Faulty};
///
/// let memory = MemoryStorage::<StreamName, u64, String>::default();
/// let faulty = Faulty::new(memory, Faults::seeded(7), Arc::new(SystemClock));
/// assert_eq!(faulty.injected().total(), 0);
/// ```
#[derive(Debug)]
pub struct Faulty<St> {
    storage: St,
    source: Arc<FaultSource>,
}

impl<St> Faulty<St> {
    /// `storage` with these faults; delays are on this clock.
    pub fn new(storage: St, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(storage, Arc::new(FaultSource::new(faults, clock)))
    }

    /// `storage` with faults from a source that others draw from as well.
    pub fn with(storage: St, source: Arc<FaultSource>) -> Self {
        Self { storage, source }
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// The storage without faults.
    pub fn storage(&self) -> &St {
        &self.storage
    }

    /// The pages, unless the read fails at once or breaks off between two of them.
    fn broken<'a, P: Send + 'a>(
        &'a self,
        mut pages: BoxStream<'a, Result<P, StorageError>>,
    ) -> BoxStream<'a, Result<P, StorageError>>
    where
        St: Sync,
    {
        try_stream! {
            self.source.delay().await;
            self.source.fail_before()?;
            while let Some(page) = pages.try_next().await? {
                yield page;
                self.source.break_off()?;
            }
        }
        .boxed()
    }
}

impl<St: EventStorage> EventStorage for Faulty<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let lost = |error: StorageError, commit: &CommitOf<Self>| error.on(&commit.key).at(commit.first);
        self.source.delay().await;
        self.source.fail_before().map_err(|error| lost(error, &commit))?;
        let put = self.storage.put(Arc::clone(&commit)).await?;
        self.source.delay().await;
        self.source.lose_reply().map_err(|error| lost(error, &commit))?;
        Ok(put)
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        self.source.delay().await;
        self.source.fail_before().map_err(|error| error.on(key))?;
        self.storage.latest(key).await
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.broken(self.storage.events(key, from))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.broken(self.storage.events_after(key, end))
    }
}

impl<St: ScanStorage> ScanStorage for Faulty<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.broken(self.storage.scan(segment))
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.broken(self.storage.heads(segment))
    }
}
