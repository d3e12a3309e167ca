//! The view, kept up to date in this process.

use std::sync::Arc;

use eventsrc_core::Synchronizer;
use eventsrc_core::feed::{ChangeFeed, NotifyingStorage};
use eventsrc_core::storage::{Either, EitherStorage, ScanStorage};
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use futures::future;
use tokio::task::JoinHandle;

use super::feed::OfBoth;
use super::{FollowedEvent, FollowedKey, Questions};
use crate::identity::storages::{Storages, Streams};

/// Storages that tell the view what is stored through them.
pub type Followed<S> = Streams<
    NotifyingStorage<Arc<<S as Storages>::Users>>,
    NotifyingStorage<Arc<<S as Storages>::Groups>>,
    <S as Storages>::Directory,
>;

/// A view that follows the users and the groups of a service.
pub struct Kept<S, V>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    /// What the service stores to.
    pub streams: Followed<S>,
    /// Reads the view, as new as asked for.
    pub synchronizer: Synchronizer<V>,
    following: Vec<JoinHandle<()>>,
}

/// How many commits wait while the view is busy; of those beyond, the view is told only that there were some.
const WAITING: usize = 10_000;

impl<S, V> Kept<S, V>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    /// Begins to keep `view`: with what is stored already, and with what will be through these streams.
    pub fn start(storages: &S, view: V, settings: SynchronizerSettings, environment: Environment<V>) -> Self {
        let mut kept = Self::untold(storages, view, settings, environment);
        // Nothing is stored through these streams before they are handed out.
        let streams = &kept.streams;
        let users = OfBoth { feed: streams.users.subscribe(WAITING), key: Either::Left, event: Either::Left };
        let groups =
            OfBoth { feed: streams.groups.subscribe(WAITING), key: Either::Right, event: Either::Right };
        kept.following = vec![follow(&kept.synchronizer, users), follow(&kept.synchronizer, groups)];
        kept
    }

    /// Keeps `view` as new as it is asked to be. For the rest, somebody else has to tell the synchronizer, or one of another process.
    pub fn untold(
        storages: &S,
        view: V,
        settings: SynchronizerSettings,
        environment: Environment<V>,
    ) -> Self {
        let streams = Streams {
            users: Arc::new(NotifyingStorage::new(storages.users())),
            groups: Arc::new(NotifyingStorage::new(storages.groups())),
            directory: storages.directory(),
        };
        let both = EitherStorage::new(storages.users(), storages.groups());
        let synchronizer = Synchronizer::start_with(both, view, settings, environment);
        Self { streams, synchronizer, following: Vec::new() }
    }

    /// Stops, when what was handed over is applied.
    pub async fn stop(self) {
        self.synchronizer.stop().await;
        drop(future::join_all(self.following).await);
    }
}

fn follow<V, F>(synchronizer: &Synchronizer<V>, feed: F) -> JoinHandle<()>
where
    V: Questions,
    F: ChangeFeed<Key = FollowedKey, Sequence = u64, Payload = FollowedEvent>,
{
    let synchronizer = synchronizer.clone();
    // It ends when the synchronizer is stopped or gives up, and its status says so.
    tokio::spawn(async move { drop(synchronizer.follow(feed).await) })
}
