//! Writes of snapshots that no query waits for.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::storage::StorageError;

/// Starts writes in the background, a limited number at a time. A write beyond the limit is left out: the next query that
/// folds as many events tries again.
#[derive(Debug)]
pub(super) struct WriteBehind(Arc<Semaphore>);

/// Largest number of writes at a time.
const WRITES: u32 = 4;

impl WriteBehind {
    /// Starts the write that `write` creates, unless too many are under way. A failure is logged and counted.
    pub(super) fn start<W>(&self, write: impl FnOnce() -> W)
    where
        W: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        let not_stored = |reason: &'static str| {
            metrics::counter!("eventsrc_snapshots_not_stored_total", "reason" => reason).increment(1);
        };
        let Ok(runtime) = Handle::try_current() else { return not_stored("no runtime") };
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else { return not_stored("busy") };
        let write = write();
        runtime.spawn(async move {
            if let Err(error) = write.await {
                not_stored("failed");
                tracing::warn!(%error, "cannot store a snapshot; the next query folds more events");
            }
            drop(permit);
        });
    }

    /// Waits until no write is under way.
    pub(super) async fn flush(&self) {
        drop(self.0.acquire_many(WRITES).await);
    }
}

impl Default for WriteBehind {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WRITES as usize)))
    }
}
