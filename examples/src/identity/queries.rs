//! The queries of the service. Each of them is a fold.

use eventsrc_core::{Consistency, Query, Snapshot, StorageError, StreamKey, Timestamp, Token};
use futures::{StreamExt, TryStreamExt, stream};

use super::folds::{Group, User};
use super::keys::{Entry, GroupId, UserId};
use super::service::Service;
use super::storages::Storages;
use super::text::Name;

/// A folded value, with the token of the stream that it was folded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotWithToken<V> {
    /// The value and its sequence.
    pub snapshot: Snapshot<u64, V>,
    /// Token for a write on the condition that nothing changed since.
    pub token: Token,
}

impl<S: Storages> Service<S> {
    /// Returns a user.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read, as for every query.
    pub async fn user(&self, user: UserId) -> Result<SnapshotWithToken<User>, StorageError> {
        let snapshot = self.users.query().snapshot(&user, Consistency::LatestEvent).await?;
        Ok(SnapshotWithToken { token: self.users.query().token(&user, &snapshot), snapshot })
    }

    /// Returns the user with this name.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn user_by_name(&self, name: &Name) -> Result<Option<UserId>, StorageError> {
        let owner = self.directory.owner(Entry::UserName(name.clone())).await?;
        let Some(id) = owner.and_then(|owner| UserId::from_parts(owner.category(), owner.id())) else {
            return Ok(None);
        };
        // The directory has the claim of the name; the user's stream decides whether the name was set.
        let user = self.users.query().get(&id, Consistency::LatestEvent).await?;
        let has_it = user.and_then(|user| user.name).is_some_and(|current| current.text == *name);
        Ok(has_it.then_some(id))
    }

    /// Returns a group.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn group(&self, group: GroupId) -> Result<SnapshotWithToken<Group>, StorageError> {
        let snapshot = self.groups.query().snapshot(&group, Consistency::LatestEvent).await?;
        Ok(SnapshotWithToken { token: self.groups.query().token(&group, &snapshot), snapshot })
    }

    /// Returns the group with this name.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn group_by_name(&self, name: &Name) -> Result<Option<GroupId>, StorageError> {
        let owner = self.directory.owner(Entry::GroupName(name.clone())).await?;
        let id = owner.and_then(|owner| GroupId::from_parts(owner.category(), owner.id()));
        let Some(id) = id else { return Ok(None) };
        Ok(self.group(id).await?.snapshot.value.is_some().then_some(id))
    }

    /// Returns the members of a group without deleted users.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn members(&self, group: GroupId) -> Result<Vec<(UserId, User)>, StorageError> {
        const CONCURRENT_READS: usize = 16;
        let ids = self.group(group).await?.snapshot.value.unwrap_or_default().members;
        let users = stream::iter(ids).map(async |id| Ok((id, self.user(id).await?.snapshot.value)));
        users
            .buffered(CONCURRENT_READS)
            .try_filter_map(async |(id, user)| Ok(user.map(|user| (id, user))))
            .try_collect()
            .await
    }

    /// Returns a user as of `time`.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn user_at_time(&self, user: UserId, time: Timestamp) -> Result<Option<User>, StorageError> {
        Ok(self.users.query().at_time(&user, time).await?.value)
    }

    /// Returns a user as of the event at `sequence`.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn user_at_sequence(&self, user: UserId, sequence: u64) -> Result<Option<User>, StorageError> {
        Ok(self.users.query().at_sequence(&user, sequence).await?.value)
    }

    /// Returns a user after each of its events.
    ///
    /// # Errors
    ///
    /// The [`StorageError`] of the read.
    pub async fn user_history(&self, user: UserId) -> Result<Vec<Snapshot<u64, User>>, StorageError> {
        self.users.query().history(user, None).try_collect().await
    }
}
