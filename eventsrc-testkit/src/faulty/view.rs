//! A view store that injects faults.

use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};

use super::source::{FaultSource, Faults, Injected};

/// A view store that forwards calls and injects faults: failed calls, lost replies, delays.
///
/// The contract of [`ViewStore`] allows every one of these faults: an `Err` means unknown. Code that keeps a view up
/// to date must handle all of them.
#[derive(Debug)]
pub struct FaultyView<V> {
    view: V,
    source: Arc<FaultSource>,
}

impl<V> FaultyView<V> {
    /// Wraps `view` with these faults. Delays use `clock`.
    pub fn new(view: V, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(view, Arc::new(FaultSource::new(faults, clock)))
    }

    /// Wraps `view` with faults from `source`, which several wrappers may share.
    pub fn with(view: V, source: Arc<FaultSource>) -> Self {
        Self { view, source }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// Returns the view store without faults.
    pub fn view(&self) -> &V {
        &self.view
    }

    /// Runs a call that changes nothing.
    async fn read<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        self.source.delay().await;
        self.source.fail_before()?;
        call.await
    }

    /// Runs a call that changes something. It may take effect and be reported as failed.
    async fn write<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let answer = self.read(call).await?;
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
        self.write(self.view.apply(batch)).await
    }

    async fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> Result<Vec<StreamPosition<Self::Sequence>>, StorageError> {
        self.read(self.view.positions_of(streams)).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, Self::Sequence)>, StorageError> {
        self.read(self.view.positions(after, limit)).await
    }

    async fn quarantine(&self, commit: &QuarantinedCommit<Self::Sequence>) -> Result<(), StorageError> {
        self.write(self.view.quarantine(commit)).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError> {
        self.read(self.view.quarantined()).await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.write(self.view.release(stream)).await
    }

    async fn skip(&self, skip: &SkippedCommits<Self::Sequence>) -> Result<bool, StorageError> {
        self.write(self.view.skip(skip)).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<Self::Sequence>>, StorageError> {
        self.read(self.view.skipped()).await
    }
}

impl<V: VersionedStore> VersionedStore for FaultyView<V> {
    async fn serving(&self) -> Result<u32, StorageError> {
        self.read(self.view.serving()).await
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        self.write(self.view.take_over(catch_up)).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        self.write(self.view.retire()).await
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        self.read(self.view.digest()).await
    }
}
