//! A view store that injects faults.

use std::sync::Arc;

use eventsrc_core::clock::Clock;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};

use super::source::{FaultSource, Faults, Injected};

/// A view store that forwards calls and injects faults: failed calls, lost replies, delays, hangs, and streams that fail
/// until they are healed.
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

    /// Returns the source of the faults, to hang and resume all calls, and to fail and heal streams.
    pub fn source(&self) -> &Arc<FaultSource> {
        &self.source
    }

    /// Returns the view store without faults.
    pub fn view(&self) -> &V {
        &self.view
    }

    /// Runs a call on `streams` that changes nothing.
    async fn read<'a, T>(
        &self,
        streams: impl IntoIterator<Item = &'a StreamName>,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        self.source.delay().await;
        streams.into_iter().try_for_each(|stream| self.source.fail_on(stream))?;
        self.source.fail_before()?;
        call.await
    }

    /// Runs a call on `streams` that changes something. It may take effect and be reported as failed.
    async fn write<'a, T>(
        &self,
        streams: impl IntoIterator<Item = &'a StreamName>,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let answer = self.read(streams, call).await?;
        self.source.delay().await;
        self.source.lose_reply()?;
        Ok(answer)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<V: ViewStore> ViewStore for FaultyView<V> {
    type Key = V::Key;
    type Sequence = V::Sequence;
    type Payload = V::Payload;

    fn definition(&self) -> &ViewDefinition {
        self.view.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        let streams = batch.position_changes().iter().map(|change| &change.stream);
        self.write(streams, self.view.apply(batch)).await
    }

    async fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> Result<Vec<StreamPosition<Self::Sequence>>, StorageError> {
        self.read(streams, self.view.positions_of(streams)).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, Self::Sequence)>, StorageError> {
        self.read([], self.view.positions(after, limit)).await
    }

    async fn quarantine(&self, commit: &QuarantinedCommit<Self::Sequence>) -> Result<(), StorageError> {
        self.write([&commit.stream], self.view.quarantine(commit)).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError> {
        self.read([], self.view.quarantined()).await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.write([stream], self.view.release(stream)).await
    }

    async fn skip(&self, skip: &SkippedCommits<Self::Sequence>) -> Result<bool, StorageError> {
        self.write([&skip.change.stream], self.view.skip(skip)).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<Self::Sequence>>, StorageError> {
        self.read([], self.view.skipped()).await
    }

    async fn version_of_readers(&self) -> Result<Option<u32>, StorageError> {
        self.read([], self.view.version_of_readers()).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<V: VersionedStore> VersionedStore for FaultyView<V> {
    async fn serving(&self) -> Result<u32, StorageError> {
        self.read([], self.view.serving()).await
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        self.write([], self.view.take_over(catch_up)).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        self.write([], self.view.retire()).await
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        self.read([], self.view.digest()).await
    }
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::SystemClock;
    use eventsrc_core::view::MemoryView;
    use futures::FutureExt;

    use super::*;

    type Memory = MemoryView<StreamName, u64, u32, Vec<u32>>;

    fn faulty(faults: Faults) -> FaultyView<Memory> {
        let definition = ViewDefinition::new("sample", ["user"]).unwrap();
        FaultyView::new(MemoryView::new(definition, |_, _| Ok(())), faults, Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn calls_on_a_failing_stream_fail_until_it_is_healed() {
        let view = faulty(Faults::none());
        let (failing, other) = ("user/1".parse().unwrap(), "user/2".parse().unwrap());
        view.source().fail_stream(StreamName::clone(&failing));
        assert!(view.positions_of(&[other, failing.clone()]).await.is_err());
        assert!(view.release(&failing).await.is_err());
        assert!(view.positions(None, 10).await.is_ok(), "a list of all positions is on no stream");
        view.source().heal_stream(&failing);
        assert!(view.positions_of(&[failing]).await.is_ok());
        assert_eq!(view.injected(), Injected { persistent: 2, ..Injected::default() });
    }

    #[tokio::test]
    async fn calls_hang_until_they_are_resumed() {
        let view = faulty(Faults::none());
        view.source().hang();
        let positions = view.positions(None, 10);
        tokio::pin!(positions);
        assert!(positions.as_mut().now_or_never().is_none());
        view.source().resume();
        assert_eq!(positions.await.unwrap(), []);
    }
}
