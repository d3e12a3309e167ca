//! A view store as a process sees it that crashes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use eventsrc_core::view::{Applied, BatchOf, QuarantinedCommit, SkippedCommits, StreamPosition, ViewStore};
use eventsrc_core::{ErrorKind, StorageError, StreamName, ViewDefinition};
use tokio::sync::Notify;

use super::schedule::{Crash, CrashStage};

/// Forwards calls until the process crashes. After that, every call fails without effect, even if tasks of the
/// process still run.
pub(super) struct Crashing<V> {
    view: V,
    crash: Option<Crash>,
    applies: AtomicUsize,
    crashed: AtomicBool,
    crash_notice: Notify,
}

impl<V> Crashing<V> {
    pub(super) fn new(view: V, crash: Option<Crash>) -> Self {
        let (applies, crashed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { view, crash, applies, crashed, crash_notice: Notify::new() }
    }

    /// Waits until the process has crashed.
    pub(super) async fn crashed(&self) {
        self.crash_notice.notified().await;
    }

    fn crash(&self) -> StorageError {
        self.crashed.store(true, Ordering::Relaxed);
        self.crash_notice.notify_one();
        StorageError::new(ErrorKind::Unavailable, "the process has crashed")
    }

    fn ensure_alive(&self) -> Result<(), StorageError> {
        if self.crashed.load(Ordering::Relaxed) { Err(self.crash()) } else { Ok(()) }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        self.ensure_alive()?;
        call.await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<V: ViewStore> ViewStore for Crashing<V> {
    type Key = V::Key;
    type Sequence = V::Sequence;
    type Payload = V::Payload;

    fn definition(&self) -> &ViewDefinition {
        self.view.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        self.ensure_alive()?;
        let apply = self.applies.fetch_add(1, Ordering::Relaxed) + 1;
        let stage = self.crash.filter(|crash| crash.apply == apply).map(|crash| crash.stage);
        if stage == Some(CrashStage::Before) {
            return Err(self.crash());
        }
        let applied = self.view.apply(batch).await;
        match stage {
            Some(CrashStage::Unknown) => Err(self.crash()),
            Some(CrashStage::Known) => {
                self.crash();
                applied
            }
            _ => applied,
        }
    }

    async fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> Result<Vec<StreamPosition<Self::Sequence>>, StorageError> {
        self.call(self.view.positions_of(streams)).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, Self::Sequence)>, StorageError> {
        self.call(self.view.positions(after, limit)).await
    }

    async fn quarantine(&self, commit: &QuarantinedCommit<Self::Sequence>) -> Result<(), StorageError> {
        self.call(self.view.quarantine(commit)).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError> {
        self.call(self.view.quarantined()).await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.call(self.view.release(stream)).await
    }

    async fn skip(&self, skip: &SkippedCommits<Self::Sequence>) -> Result<bool, StorageError> {
        self.call(self.view.skip(skip)).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<Self::Sequence>>, StorageError> {
        self.call(self.view.skipped()).await
    }

    async fn version_of_readers(&self) -> Result<Option<u32>, StorageError> {
        self.call(self.view.version_of_readers()).await
    }
}
