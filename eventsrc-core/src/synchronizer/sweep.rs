//! Sweeps that a caller asks for.

use tokio::sync::mpsc;

use super::handle::Synchronizer;
use super::pending_ack::PendingAck;
use super::sweeper::{SweepReport, once, stopped};
use crate::feed::Acknowledgement;
use crate::storage::StorageError;
use crate::view::ViewStore;

impl<V: ViewStore> Synchronizer<V> {
    /// Compares the heads of all streams with positions, and waits until those that were behind are not.
    ///
    /// # Errors
    ///
    /// Those of the storage and of the view's database; `Unavailable` if the synchronizer has stopped.
    pub async fn sweep(&self) -> Result<SweepReport, StorageError> {
        let (open, mut closed) = mpsc::channel(1);
        let (tell, told) = tokio::sync::oneshot::channel();
        let acknowledgement = Acknowledgement::new(move || {
            // Whoever asked for the sweep may be gone.
            let _ = tell.send(());
        });
        let ack = PendingAck::new(acknowledgement, open);
        let report = once(&self.0.shared, &self.0.router, &ack).await?;
        ack.settle();
        closed.recv().await;
        told.await.map_err(|_| stopped())?;
        Ok(report)
    }
}
