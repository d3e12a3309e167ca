//! Taking in what a feed brings.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::handle::Synchronizer;
use super::pending_ack::{Open, PendingAck};
use super::router::Router;
use super::shared::Shared;
use super::status::SynchronizerState;
use super::worker::Request;
use crate::feed::{Change, ChangeFeed, Delivery};
use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamName;
use crate::view::ViewStore;

/// Why following a feed ended before the feed did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The synchronizer has stopped, or its view is broken.
    #[error("the view is not kept any more: {0:?}")]
    Stopped(SynchronizerState),
    /// The feed cannot go on.
    #[error("the feed cannot go on")]
    Feed(#[source] StorageError),
}

impl<V: ViewStore> Synchronizer<V> {
    /// Applies what `feed` brings, until it ends; then all that it brought was dealt with.
    ///
    /// Several feeds may be followed at once.
    ///
    /// # Errors
    ///
    /// [`FollowError`]. A feed that is out of reach for a while is asked again and again.
    pub async fn follow<F>(&self, mut feed: F) -> Result<(), FollowError>
    where
        F: ChangeFeed<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    {
        let (shared, router) = (&self.0.shared, &self.0.router);
        let (open, mut closed) = mpsc::channel(1);
        let mut backoff = shared.settings.retry.start();
        loop {
            let next = tokio::select! {
                next = feed.next() => next,
                () = shared.stopped() => return Err(FollowError::Stopped(shared.state())),
            };
            match next {
                Ok(Some(delivery)) => {
                    backoff = shared.settings.retry.start();
                    if !take(shared, router, delivery, &open).await {
                        return Err(FollowError::Stopped(shared.state()));
                    }
                }
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(view = %shared.view.definition(), error = %describe(&error), "the feed is out of reach; trying again");
                    let wait = backoff.wait(&shared.environment.randomness);
                    shared.environment.clock.sleep(wait).await;
                }
                Err(error) => return Err(FollowError::Feed(error)),
            }
        }
        drop(open);
        tokio::select! {
            _ = closed.recv() => Ok(()),
            () = shared.stopped() => Err(FollowError::Stopped(shared.state())),
        }
    }
}

/// Hands the changes of a delivery to the workers; false if they have stopped.
async fn take<V: ViewStore>(
    shared: &Arc<Shared<V>>,
    router: &Router<V>,
    delivery: Delivery<V::Key, V::Sequence, V::Payload>,
    open: &Open,
) -> bool {
    let ack = PendingAck::new(delivery.acknowledgement, open.clone());
    let mut commits: Vec<Vec<_>> = router.workers.iter().map(|_| Vec::new()).collect();
    let mut looks = Vec::new();
    let mut anything = false;
    for change in delivery.changes {
        match change {
            Change::Commit(commit) => {
                // A key that names no stream was never stored.
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
                    looks.push((stream, key));
                }
            }
            Change::Anything => anything = true,
        }
    }
    let mut running = true;
    for (worker, commits) in router.workers.iter().zip(commits).filter(|(_, commits)| !commits.is_empty()) {
        running &= worker.send(Request::Commits(commits, ack.clone())).await.is_ok();
    }
    for (stream, key) in looks {
        let request = Request::Look(stream.clone(), key, ack.clone());
        running &= router.ask(&stream, request).await;
    }
    if anything {
        running &= router.sweeps.send(ack.clone()).await.is_ok();
    }
    ack.settle();
    running
}
