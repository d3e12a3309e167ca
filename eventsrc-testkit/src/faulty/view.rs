//! A view store that fails now and then.

use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};

use super::{FaultSource, Faults, Injected};

/// A view store that passes calls on, and now and then fails, loses a reply or takes its time.
///
/// Every fault is one that the contract of [`ViewStore`] allows: an `Err` means unknown. So what keeps a view up to date
/// has to bear them all.
#[derive(Debug)]
pub struct FaultyView<V> {
    view: V,
    source: Arc<FaultSource>,
}

impl<V> FaultyView<V> {
    /// `view` with these faults; delays are on this clock.
    pub fn new(view: V, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(view, Arc::new(FaultSource::new(faults, clock)))
    }

    /// `view` with faults from a source that others draw from as well.
    pub fn with(view: V, source: Arc<FaultSource>) -> Self {
        Self { view, source }
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// The view store without faults.
    pub fn view(&self) -> &V {
        &self.view
    }

    /// A call that changes nothing.
    async fn asked<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        self.source.delay().await;
        self.source.fail_before()?;
        call.await
    }

    /// A call that changes something, which may be done and reported as failed.
    async fn told<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let answer = self.asked(call).await?;
        self.source.delay().await;
        self.source.lose_reply()?;
        Ok(answer)
    }
}

impl<V: ViewStore> ViewStore for FaultyView<V> {
    type Key = V::Key;
    type Sequence = V::Sequence;
    type Payload = V::Payload;

    fn definition(&self) -> &ViewDefinition {
        self.view.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        self.told(self.view.apply(batch)).await
    }

    async fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> Result<Vec<StreamPosition<Self::Sequence>>, StorageError> {
        self.asked(self.view.positions_of(streams)).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, Self::Sequence)>, StorageError> {
        self.asked(self.view.positions(after, limit)).await
    }

    async fn quarantine(&self, poison: &QuarantinedCommit<Self::Sequence>) -> Result<(), StorageError> {
        self.told(self.view.quarantine(poison)).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError> {
        self.asked(self.view.quarantined()).await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.told(self.view.release(stream)).await
    }

    async fn skip(&self, skip: &SkippedCommits<Self::Sequence>) -> Result<bool, StorageError> {
        self.told(self.view.skip(skip)).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<Self::Sequence>>, StorageError> {
        self.asked(self.view.skipped()).await
    }
}

impl<V: VersionedStore> VersionedStore for FaultyView<V> {
    async fn serving(&self) -> Result<u32, StorageError> {
        self.asked(self.view.serving()).await
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        self.told(self.view.take_over(catch_up)).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        self.told(self.view.retire()).await
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        self.asked(self.view.digest()).await
    }
}
