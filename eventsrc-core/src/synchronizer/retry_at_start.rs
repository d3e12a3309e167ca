//! The retry of quarantined streams at the start of a synchronizer, because the view's code may have been corrected.

use std::sync::Arc;

use futures::{StreamExt, future, stream};
use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::WaitOutcome;
use super::pending_ack::PendingAck;
use super::router::Router;
use super::shared::Shared;
use super::worker::{MIN_WAIT, Request};
use crate::feed::Acknowledgement;
use crate::storage::StorageError;
use crate::storage::error::describe;
use crate::stream::{StreamKey, StreamName};
use crate::view::{QuarantinedCommit, ViewStore};

/// Maximum number of streams that are released and not yet tried.
const STREAMS_AT_ONCE: usize = 16;

/// Number of times that a stream is released, if another process puts it in quarantine again before this one has tried it.
const MAX_RELEASES: usize = 3;

/// Releases each stream that is in quarantine, and tries its commit once. A stream that fails again goes back into
/// quarantine, and its failure does not count for the circuit breaker.
///
/// If the synchronizer stops before a released stream is tried, its quarantine is recorded again. After a crash at this
/// moment, the stream is behind and not in quarantine, so the next sweep tries it.
///
/// `failing` becomes true when the view's database fails, so that no caller waits for the end.
pub(super) async fn run<V: ViewStore>(
    shared: Arc<Shared<V>>,
    router: Router<V>,
    failing: watch::Sender<bool>,
) {
    if !shared.settings.retry_quarantined_at_start {
        shared.take_just_quarantined();
        return;
    }
    let Some(mut entries) = quarantined(&shared, &failing).await else { return };
    let just_quarantined = shared.take_just_quarantined();
    entries.retain(|entry| !just_quarantined.contains(&entry.stream));
    if entries.is_empty() {
        return;
    }
    let view = shared.view.definition();
    tracing::info!(%view, streams = entries.len(), "retrying the streams that are in quarantine");
    let retries = entries.iter().map(|entry| retry(&shared, &router, &failing, entry));
    stream::iter(retries).for_each_concurrent(STREAMS_AT_ONCE, |retry| retry).await;
}

/// Reads the quarantine of the streams that the view follows. Returns `None` if the synchronizer has stopped.
pub(super) async fn quarantined<V: ViewStore>(
    shared: &Shared<V>,
    failing: &watch::Sender<bool>,
) -> Option<Vec<QuarantinedCommit<V::Sequence>>> {
    let read = || shared.view.quarantined();
    let mut entries = with_retry(shared, failing, "read the quarantine of the view", read).await?;
    entries.retain(|entry| shared.follows(&entry.stream));
    Some(entries)
}

/// Releases a stream, and waits until its commit is applied, in quarantine again, or cannot be read at present.
async fn retry<V: ViewStore>(
    shared: &Shared<V>,
    router: &Router<V>,
    failing: &watch::Sender<bool>,
    entry: &QuarantinedCommit<V::Sequence>,
) {
    let stream = &entry.stream;
    let Some(key) = V::Key::from_parts(stream.category(), stream.id()) else { return };
    for _ in 0..MAX_RELEASES {
        if shared.is_stopped() {
            return;
        }
        let released = release(shared, failing, stream).await;
        let (reply, outcome) = oneshot::channel();
        let ack = PendingAck::new(Acknowledgement::none(), mpsc::channel(1).0);
        let accepted = released.is_some()
            && router.send(stream, Request::Wait(stream.clone(), key.clone(), entry.sequence, reply)).await
            && router.send(stream, Request::Hint(stream.clone(), key.clone(), ack)).await;
        let outcome = if accepted { outcome.await.ok() } else { None };
        match outcome {
            None => return restore(shared, entry).await,
            // Another process, perhaps with older code, was first.
            Some(WaitOutcome::Quarantined) if shared.is_retried(stream) => {}
            // It may fail later, once it can be read.
            Some(WaitOutcome::Unreadable(_)) => return,
            Some(_) => break,
        }
    }
    shared.unmark_retried(stream);
}

/// Releases a stream. Returns `None` if the synchronizer has stopped; the stream may be released.
pub(super) async fn release<V: ViewStore>(
    shared: &Shared<V>,
    failing: &watch::Sender<bool>,
    stream: &StreamName,
) -> Option<()> {
    shared.mark_retried(stream);
    // The result does not matter: a release whose answer was lost, or which another process made, is a release.
    let release = || shared.view.release(stream);
    with_retry(shared, failing, "release a stream from quarantine", release).await.map(drop)
}

/// Puts a stream that this synchronizer did not try in quarantine again, because the synchronizer stops. It has no effect
/// if the stream has advanced, or is in quarantine.
async fn restore<V: ViewStore>(shared: &Shared<V>, entry: &QuarantinedCommit<V::Sequence>) {
    if let Err(error) = shared.view.quarantine(entry).await {
        let (view, stream) = (shared.view.definition(), &entry.stream);
        let error = describe(&error);
        tracing::warn!(
            %view, %stream, %error,
            "stopping before a released stream was tried; the next sweep tries it"
        );
    }
}

/// Calls the view's database until it succeeds. Returns `None` if the synchronizer has stopped.
async fn with_retry<V: ViewStore, T, F>(
    shared: &Shared<V>,
    failing: &watch::Sender<bool>,
    what: &str,
    call: impl Fn() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut backoff = shared.settings.retry.start();
    loop {
        match call().await {
            Ok(done) => return Some(done),
            Err(_) if shared.is_stopped() => return None,
            Err(error) => {
                failing.send_replace(true);
                let wait = backoff.wait(&shared.environment.randomness).max(MIN_WAIT);
                let view = shared.view.definition();
                let error = describe(&error);
                tracing::warn!(%view, %error, ?wait, "cannot {what}; retrying with backoff");
                let sleep = shared.environment.clock.sleep(wait);
                future::select(sleep, Box::pin(shared.stopped())).await;
            }
        }
    }
}
