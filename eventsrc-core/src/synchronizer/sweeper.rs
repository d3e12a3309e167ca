//! Comparing heads with positions, because a lost last event leaves no gap.

use std::sync::Arc;

use futures::{TryStreamExt, future};
use tokio::sync::mpsc;

use super::pending_ack::PendingAck;
use super::router::Router;
use super::shared::Shared;
use super::worker::Request;
use crate::feed::Acknowledgement;
use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamName;
use crate::view::ViewStore;

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Streams that the view follows.
    pub streams: usize,
    /// Those of them that were behind.
    pub behind: usize,
}

pub(super) fn stopped() -> StorageError {
    StorageError::new(ErrorKind::Unavailable, "the view is not kept any more")
}

/// Sweeps at once and then at the interval of the settings, if they have one, and whenever it is asked to, until the synchronizer
/// stops.
///
/// All who ask while a sweep is under way share the next one, which begins after as long as the last one took: so a bus
/// full of what cannot be read costs the storage at most half of a reader's time, and holds nothing else up.
pub(super) async fn whenever_asked<V: ViewStore>(
    shared: Arc<Shared<V>>,
    router: Router<V>,
    mut asking: mpsc::Receiver<PendingAck>,
) {
    let clock = &shared.environment.clock;
    let (mut first, mut before) = (true, None::<mpsc::Receiver<()>>);
    let sweeping = async {
        loop {
            let in_time = async {
                let Some(interval) = shared.settings.sweep_every else { return future::pending().await };
                if !std::mem::take(&mut first) {
                    // What the last sweep found is dealt with before the interval begins.
                    if let Some(before) = &mut before {
                        before.recv().await;
                    }
                    clock.sleep(interval).await;
                }
            };
            let mut asked = tokio::select! {
                () = in_time => Vec::new(),
                Some(ack) = asking.recv() => vec![ack],
            };
            asked.extend(std::iter::from_fn(|| asking.try_recv().ok()));
            let began = clock.elapsed();
            let (open, closed) = mpsc::channel(1);
            let settle = move || asked.into_iter().for_each(PendingAck::settle);
            let ack = PendingAck::new(Acknowledgement::new(settle), open);
            if sweep(&shared, &router, &ack).await.is_none() {
                // Whoever asked is not told that it was done.
                return;
            }
            ack.settle();
            before = Some(closed);
            clock.sleep(clock.elapsed().saturating_sub(began)).await;
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = shared.stopped() => {}
    }
}

/// Sweeps, however often that takes; `None` if the synchronizer has stopped.
pub(super) async fn sweep<V: ViewStore>(
    shared: &Shared<V>,
    router: &Router<V>,
    ack: &PendingAck,
) -> Option<SweepReport> {
    let mut backoff = shared.settings.retry.start();
    loop {
        match once(shared, router, ack).await {
            Ok(report) => return Some(report),
            Err(_) if shared.is_stopped() => return None,
            Err(error) => {
                tracing::warn!(view = %shared.view.definition(), error = %describe(&error), "cannot compare heads; trying again");
                let wait = backoff.wait(&shared.environment.randomness);
                shared.environment.clock.sleep(wait).await;
            }
        }
    }
}

/// Has every stream that is behind brought forward; what that takes is a part of `ack`.
pub(super) async fn once<V: ViewStore>(
    shared: &Shared<V>,
    router: &Router<V>,
    ack: &PendingAck,
) -> Result<SweepReport, StorageError> {
    let mut report = SweepReport::default();
    let mut heads = shared.source.heads();
    while let Some(page) = heads.try_next().await? {
        let followed: Vec<_> = page
            .into_iter()
            .filter_map(|(key, head)| Some((StreamName::of(&key).ok()?, key, head)))
            .filter(|(stream, ..)| shared.follows(stream))
            .collect();
        let streams: Vec<StreamName> = followed.iter().map(|(stream, ..)| stream.clone()).collect();
        let places = shared.view.positions_of(&streams).await?;
        report.streams += streams.len();
        for ((stream, key, head), place) in followed.into_iter().zip(places) {
            if place.quarantined || place.position >= Some(head.sequence) {
                continue;
            }
            report.behind += 1;
            let request = Request::Head(stream.clone(), key, head, ack.clone());
            if !router.ask(&stream, request).await {
                return Err(stopped());
            }
        }
    }
    Ok(report)
}
