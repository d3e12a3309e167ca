//! Comparing heads with positions, because a lost last event leaves no gap.

use std::sync::Arc;

use futures::TryStreamExt;
use tokio::sync::mpsc;

use super::receipt::Receipt;
use super::worker::Request;
use super::{Desk, Shared, Synchronizer};
use crate::error::{StorageError, describe};
use crate::feed::Acknowledgement;
use crate::stream::StreamName;
use crate::view::ViewStore;

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Streams that the view follows.
    pub streams: usize,
    /// Those of them that were behind.
    pub behind: usize,
}

impl<V: ViewStore> Synchronizer<V> {
    /// Compares the heads of all streams with positions, and waits until those that were behind are not.
    ///
    /// # Errors
    ///
    /// Those of the storage and of the view's database; `Unavailable` if the synchronizer has stopped.
    pub async fn sweep(&self) -> Result<Swept, StorageError> {
        let (open, mut closed) = mpsc::channel(1);
        let (tell, told) = tokio::sync::oneshot::channel();
        let acknowledgement = Acknowledgement::new(move || {
            // Whoever asked for the sweep may be gone.
            let _ = tell.send(());
        });
        let receipt = Receipt::new(acknowledgement, open);
        let swept = once(&self.0.shared, &self.0.desk, &receipt).await?;
        receipt.settle();
        closed.recv().await;
        told.await.map_err(|_| stopped())?;
        Ok(swept)
    }
}

fn stopped() -> StorageError {
    StorageError::new(crate::error::ErrorKind::Unavailable, "the view is not kept any more")
}

/// Sweeps at once, and then at the interval of the settings, until the synchronizer stops.
pub(super) async fn from_time_to_time<V: ViewStore>(shared: Arc<Shared<V>>, desk: Desk<V>) {
    let Some(interval) = shared.settings.sweep_every else { return };
    loop {
        let (open, mut closed) = mpsc::channel(1);
        let receipt = Receipt::new(Acknowledgement::none(), open);
        let sweeping = async {
            sweep(&shared, &desk, &receipt).await;
            receipt.settle();
            // The next sweep begins after what this one found is dealt with.
            closed.recv().await;
            shared.surroundings.clock.sleep(interval).await;
        };
        tokio::select! {
            () = sweeping => {}
            () = shared.stopped() => return,
        }
    }
}

/// Sweeps, however often that takes; `None` if the synchronizer has stopped.
pub(super) async fn sweep<V: ViewStore>(
    shared: &Shared<V>,
    desk: &Desk<V>,
    receipt: &Receipt,
) -> Option<Swept> {
    let mut pace = shared.settings.retry.start();
    loop {
        match once(shared, desk, receipt).await {
            Ok(swept) => return Some(swept),
            Err(_) if shared.is_stopped() => return None,
            Err(error) => {
                tracing::warn!(view = %shared.view.definition(), error = %describe(&error), "cannot compare heads; trying again");
                let wait = pace.wait(&shared.surroundings.randomness);
                shared.surroundings.clock.sleep(wait).await;
            }
        }
    }
}

/// Has every stream that is behind brought forward; what that takes is a part of `receipt`.
async fn once<V: ViewStore>(
    shared: &Shared<V>,
    desk: &Desk<V>,
    receipt: &Receipt,
) -> Result<Swept, StorageError> {
    let mut swept = Swept::default();
    let mut heads = shared.source.heads();
    while let Some(page) = heads.try_next().await? {
        let followed: Vec<_> = page
            .into_iter()
            .filter_map(|(key, head)| Some((StreamName::of(&key).ok()?, key, head)))
            .filter(|(stream, ..)| shared.follows(stream))
            .collect();
        let streams: Vec<StreamName> = followed.iter().map(|(stream, ..)| stream.clone()).collect();
        let places = shared.view.places(&streams).await?;
        swept.streams += streams.len();
        for ((stream, key, head), place) in followed.into_iter().zip(places) {
            if place.quarantined || place.position >= Some(head.sequence) {
                continue;
            }
            swept.behind += 1;
            let request = Request::Head(stream.clone(), key, head, receipt.clone());
            if !desk.ask(&stream, request).await {
                return Err(stopped());
            }
        }
    }
    Ok(swept)
}
