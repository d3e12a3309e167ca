//! Sweeps on request of a caller.

use tokio::sync::mpsc;

use super::handle::Synchronizer;
use super::pending_ack::PendingAck;
use super::sweeper::{SweepReport, stopped_error, sweep_once};
use crate::feed::Acknowledgement;
use crate::storage::StorageError;
use crate::view::ViewStore;

impl<V: ViewStore> Synchronizer<V> {
    /// Compares the heads of all streams with the view's positions, and waits until the streams that were behind have
    /// caught up or are in quarantine. Streams that were in quarantine at the start were tried again by then.
    ///
    /// # Errors
    ///
    /// Errors of the storage and of the view's database; `Unavailable` if the synchronizer has stopped.
    pub async fn sweep(&self) -> Result<SweepReport, StorageError> {
        self.tried_again().await;
        let (in_flight, mut all_done) = mpsc::channel(1);
        let (acknowledge, acknowledged) = tokio::sync::oneshot::channel();
        let acknowledgement = Acknowledgement::new(move || {
            // The receiver is gone if the caller has stopped waiting.
            let _ = acknowledge.send(());
        });
        let ack = PendingAck::new(acknowledgement, in_flight);
        let report = sweep_once(&self.0.shared, &self.0.router, &ack).await?;
        ack.settle();
        all_done.recv().await;
        acknowledged.await.map_err(|_| stopped_error())?;
        Ok(report)
    }
}
