//! The view, kept up to date in this process.

use std::sync::Arc;

use eventsrc_core::Synchronizer;
use eventsrc_core::feed::{ChangeFeed, NotifyingStorage};
use eventsrc_core::storage::{Either, EitherStorage, ScanStorage};
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use futures::future;
use tokio::task::JoinHandle;

use super::feed::EitherFeed;
use super::followed::{FollowedEvent, FollowedKey};
use super::queries::ViewQueries;
use crate::identity::storages::{Storages, Streams};

/// Storages that notify subscribers of what is stored through them.
pub type NotifyingStreams<S> = Streams<
    NotifyingStorage<Arc<<S as Storages>::Users>>,
    NotifyingStorage<Arc<<S as Storages>::Groups>>,
    <S as Storages>::Directory,
>;

/// A view of users and groups with its synchronizer.
pub struct SyncedView<S, V>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: ViewQueries,
{
    /// Storages for the service.
    pub streams: NotifyingStreams<S>,
    /// Keeps the view up to date, and reads it at least as new as a token.
    pub synchronizer: Synchronizer<V>,
    feeds: Vec<JoinHandle<()>>,
}

/// Capacity of a feed, in commits. If the view is further behind, a feed delivers a hint instead of the commits.
const CAPACITY: usize = 10_000;

impl<S, V> SyncedView<S, V>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: ViewQueries,
{
    /// Starts to keep `view` up to date with everything that is stored, and with what is stored through `streams`.
    pub fn start(storages: &S, view: V, settings: SynchronizerSettings, environment: Environment<V>) -> Self {
        let mut synced = Self::without_feed(storages, view, settings, environment);
        // Nothing is stored through these streams before they are returned, so no commit is missed.
        let streams = &synced.streams;
        let users =
            EitherFeed { feed: streams.users.subscribe(CAPACITY), key: Either::Left, event: Either::Left };
        let groups =
            EitherFeed { feed: streams.groups.subscribe(CAPACITY), key: Either::Right, event: Either::Right };
        synced.feeds = vec![follow(&synced.synchronizer, users), follow(&synced.synchronizer, groups)];
        synced
    }

    /// Starts a synchronizer without a feed. It fetches what a token requires; anything else needs a feed, a sweep or
    /// the synchronizer of another process.
    pub fn without_feed(
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
        Self { streams, synchronizer, feeds: Vec::new() }
    }

    /// Stops after everything that was delivered is applied.
    pub async fn stop(self) {
        self.synchronizer.stop().await;
        drop(future::join_all(self.feeds).await);
    }
}

fn follow<V, F>(synchronizer: &Synchronizer<V>, feed: F) -> JoinHandle<()>
where
    V: ViewQueries,
    F: ChangeFeed<Key = FollowedKey, Sequence = u64, Payload = FollowedEvent>,
{
    let synchronizer = synchronizer.clone();
    // The task ends when the synchronizer stops or fails; its status reports which.
    tokio::spawn(async move { drop(synchronizer.follow(feed).await) })
}
