//! Sweeps: comparisons of heads with positions, which find commits that a feed lost at the end of a stream.

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

/// Result of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Number of streams that the view follows.
    pub streams: usize,
    /// Number of these streams that were behind.
    pub behind: usize,
}

pub(super) fn stopped_error() -> StorageError {
    StorageError::new(ErrorKind::Unavailable, "the synchronizer has stopped")
}

/// Sweeps at the start, then at the interval of the settings if they have one, and on each request, until the
/// synchronizer stops.
///
/// All requests that arrive during a sweep share the next one. It begins after a pause as long as the last sweep, so
/// that a feed with many unreadable records causes sweeps for at most half of the time, and delays nothing else.
pub(super) async fn run<V: ViewStore>(
    shared: Arc<Shared<V>>,
    router: Router<V>,
    mut requests: mpsc::Receiver<PendingAck>,
) {
    let clock = &shared.environment.clock;
    let (mut first, mut last_sweep) = (true, None::<mpsc::Receiver<()>>);
    let sweeping = async {
        loop {
            let next_timed = async {
                let Some(interval) = shared.settings.sweep_every else { return future::pending().await };
                if !std::mem::take(&mut first) {
                    // The interval begins once the streams that the last sweep found behind are processed.
                    if let Some(last_sweep) = &mut last_sweep {
                        last_sweep.recv().await;
                    }
                    clock.sleep(interval).await;
                }
            };
            let mut requested = tokio::select! {
                () = next_timed => Vec::new(),
                Some(ack) = requests.recv() => vec![ack],
            };
            requested.extend(std::iter::from_fn(|| requests.try_recv().ok()));
            let start = clock.elapsed();
            let (in_flight, all_done) = mpsc::channel(1);
            let settle = move || requested.into_iter().for_each(PendingAck::settle);
            let ack = PendingAck::new(Acknowledgement::new(settle), in_flight);
            if sweep_with_retry(&shared, &router, &ack).await.is_none() {
                // The requests stay unacknowledged.
                return;
            }
            ack.settle();
            last_sweep = Some(all_done);
            clock.sleep(clock.elapsed().saturating_sub(start)).await;
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = shared.stopped() => {}
    }
}

/// Sweeps, and retries without limit. Returns `None` if the synchronizer has stopped.
async fn sweep_with_retry<V: ViewStore>(
    shared: &Shared<V>,
    router: &Router<V>,
    ack: &PendingAck,
) -> Option<SweepReport> {
    let mut backoff = shared.settings.retry.start();
    loop {
        match sweep_once(shared, router, ack).await {
            Ok(report) => return Some(report),
            Err(_) if shared.is_stopped() => return None,
            Err(error) => {
                let wait = backoff.wait(&shared.environment.randomness);
                let view = shared.view.definition();
                let error = describe(&error);
                tracing::warn!(%view, %error, ?wait, "cannot compare heads with positions; retrying with backoff");
                shared.environment.clock.sleep(wait).await;
            }
        }
    }
}

/// Sends each stream that is behind to its worker. Each of these requests holds a part of `ack`.
pub(super) async fn sweep_once<V: ViewStore>(
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
        let positions = shared.view.positions_of(&streams).await?;
        report.streams += streams.len();
        for ((stream, key, head), current) in followed.into_iter().zip(positions) {
            if current.quarantined || current.position >= Some(head.sequence) {
                continue;
            }
            report.behind += 1;
            let request = Request::Head(stream.clone(), key, head, ack.clone());
            if !router.send(&stream, request).await {
                return Err(stopped_error());
            }
        }
    }
    Ok(report)
}
