//! What can be asked of the service: every answer is a fold.

use eventsrc_core::{Consistency, Query, Snapshot, StorageError, StreamKey, Timestamp, Token};
use futures::{StreamExt, TryStreamExt, stream};

use super::folds::{Group, User};
use super::keys::{Entry, GroupId, UserId};
use super::service::Service;
use super::storages::Storages;
use super::text::Name;

/// An answer, and the token that says what it was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<V> {
    /// The value, and the event it is as new as.
    pub snapshot: Snapshot<u64, V>,
    /// To write on the condition that nothing has changed since.
    pub token: Token,
}

impl<S: Storages> Service<S> {
    /// A user.
    ///
    /// # Errors
    ///
    /// A [`StorageError`], as for every question.
    pub async fn user(&self, user: UserId) -> Result<Answer<User>, StorageError> {
        let snapshot = self.users.query().snapshot(&user, Consistency::LatestEvent).await?;
        Ok(Answer { token: self.users.query().token(&user, &snapshot), snapshot })
    }

    /// Who has this name.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn user_by_name(&self, name: &Name) -> Result<Option<UserId>, StorageError> {
        let owner = self.directory.owner(Entry::UserName(name.clone())).await?;
        let Some(id) = owner.and_then(|owner| UserId::from_parts(owner.category(), owner.id())) else {
            return Ok(None);
        };
        // The directory knows who may have the name; the user's stream knows whether it was taken up.
        let user = self.users.query().get(&id, Consistency::LatestEvent).await?;
        let has_it = user.and_then(|user| user.name).is_some_and(|current| current.text == *name);
        Ok(has_it.then_some(id))
    }

    /// A group.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn group(&self, group: GroupId) -> Result<Answer<Group>, StorageError> {
        let snapshot = self.groups.query().snapshot(&group, Consistency::LatestEvent).await?;
        Ok(Answer { token: self.groups.query().token(&group, &snapshot), snapshot })
    }

    /// Which group has this name.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn group_by_name(&self, name: &Name) -> Result<Option<GroupId>, StorageError> {
        let owner = self.directory.owner(Entry::GroupName(name.clone())).await?;
        let id = owner.and_then(|owner| GroupId::from_parts(owner.category(), owner.id()));
        let Some(id) = id else { return Ok(None) };
        Ok(self.group(id).await?.snapshot.value.is_some().then_some(id))
    }

    /// Who is in a group, without those who were deleted.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn members(&self, group: GroupId) -> Result<Vec<(UserId, User)>, StorageError> {
        const READS_AT_ONCE: usize = 16;
        let ids = self.group(group).await?.snapshot.value.unwrap_or_default().members;
        let users = stream::iter(ids).map(async |id| Ok((id, self.user(id).await?.snapshot.value)));
        users
            .buffered(READS_AT_ONCE)
            .try_filter_map(async |(id, user)| Ok(user.map(|user| (id, user))))
            .try_collect()
            .await
    }

    /// A user as it was at `time`.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn user_at_time(&self, user: UserId, time: Timestamp) -> Result<Option<User>, StorageError> {
        Ok(self.users.query().at_time(&user, time).await?.value)
    }

    /// A user as it was once the event at `sequence` was saved.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn user_at_sequence(&self, user: UserId, sequence: u64) -> Result<Option<User>, StorageError> {
        Ok(self.users.query().at_sequence(&user, sequence).await?.value)
    }

    /// A user after each event.
    ///
    /// # Errors
    ///
    /// A [`StorageError`].
    pub async fn user_history(&self, user: UserId) -> Result<Vec<Snapshot<u64, User>>, StorageError> {
        self.users.query().history(user, None).try_collect().await
    }
}
