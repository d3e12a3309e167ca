//! Applying the changes of a feed.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::handle::Synchronizer;
use super::pending_ack::{InFlight, PendingAck};
use super::router::Router;
use super::shared::Shared;
use super::status::SynchronizerState;
use super::worker::Request;
use crate::feed::{Change, ChangeFeed, Delivery};
use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamName;
use crate::view::ViewStore;

/// Error that ended [`Synchronizer::follow`] before the feed ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The synchronizer was stopped, by its owner or by the circuit breaker.
    #[error("the synchronizer has stopped: {0:?}")]
    Stopped(SynchronizerState),
    /// The feed returned a final error.
    #[error("the change feed failed")]
    Feed(#[source] StorageError),
}

impl<V: ViewStore> Synchronizer<V> {
    /// Applies the changes of `feed` until the feed ends. On return, all its commits are applied or in quarantine.
    ///
    /// Several feeds may be followed concurrently.
    ///
    /// # Errors
    ///
    /// [`FollowError`]. An error of the feed of kind `Unavailable` is retried without limit, with backoff and jitter.
    pub async fn follow<F>(&self, mut feed: F) -> Result<(), FollowError>
    where
        F: ChangeFeed<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    {
        let (shared, router) = (&self.0.shared, &self.0.router);
        let (in_flight, mut all_done) = mpsc::channel(1);
        let mut backoff = shared.settings.retry.start();
        loop {
            let next = tokio::select! {
                next = feed.next() => next,
                () = shared.stopped() => return Err(FollowError::Stopped(shared.state())),
            };
            match next {
                Ok(Some(delivery)) => {
                    backoff = shared.settings.retry.start();
                    if !dispatch(shared, router, delivery, &in_flight).await {
                        return Err(FollowError::Stopped(shared.state()));
                    }
                }
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    let wait = backoff.wait(&shared.environment.randomness);
                    let view = shared.view.definition();
                    let error = describe(&error);
                    tracing::warn!(%view, %error, ?wait, "the change feed is unavailable; retrying with backoff");
                    shared.environment.clock.sleep(wait).await;
                }
                Err(error) => return Err(FollowError::Feed(error)),
            }
        }
        drop(in_flight);
        tokio::select! {
            _ = all_done.recv() => Ok(()),
            () = shared.stopped() => Err(FollowError::Stopped(shared.state())),
        }
    }
}

/// Sends the changes of a delivery to the workers. Returns false if they have stopped.
async fn dispatch<V: ViewStore>(
    shared: &Arc<Shared<V>>,
    router: &Router<V>,
    delivery: Delivery<V::Key, V::Sequence, V::Payload>,
    in_flight: &InFlight,
) -> bool {
    let ack = PendingAck::new(delivery.acknowledgement, in_flight.clone());
    let mut commits: Vec<Vec<_>> = router.workers.iter().map(|_| Vec::new()).collect();
    let mut hints = Vec::new();
    let mut anything = false;
    for change in delivery.changes {
        match change {
            Change::Commit(commit) => {
                // A key that is no valid stream name was never stored.
                if let Ok(stream) = StreamName::of(&commit.key)
                    && shared.follows(&stream)
                {
                    commits[router.worker_of(&stream)].push((stream, commit));
                }
            }
            Change::Stream(key) => {
                if let Ok(stream) = StreamName::of(&key)
                    && shared.follows(&stream)
                {
                    hints.push((stream, key));
                }
            }
            Change::Anything => anything = true,
        }
    }
    let mut running = true;
    for (worker, commits) in router.workers.iter().zip(commits).filter(|(_, commits)| !commits.is_empty()) {
        running &= worker.send(Request::Commits(commits, ack.clone())).await.is_ok();
    }
    for (stream, key) in hints {
        let request = Request::Hint(stream.clone(), key, ack.clone());
        running &= router.send(&stream, request).await;
    }
    if anything {
        running &= router.sweeps.send(ack.clone()).await.is_ok();
    }
    ack.settle();
    running
}
