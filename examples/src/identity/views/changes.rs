//! The changes of a batch, added up by row, for any database.

use std::collections::BTreeMap;

use eventsrc_core::Event;
use eventsrc_core::storage::Either;

use super::followed::{FollowedEvent, FollowedKey};
use crate::identity::events::{GroupEvent, UserEvent};
use crate::identity::keys::{GroupId, UserId};

/// Changes to the rows, one entry per row and in the order of the keys: one statement can write them all, and two
/// transactions cannot deadlock.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) users: BTreeMap<UserId, UserChange>,
    pub(super) groups: BTreeMap<GroupId, GroupChange>,
    /// True if the user is a member of the group.
    pub(super) members: BTreeMap<(GroupId, UserId), bool>,
}

/// New values of a user's row. The row keeps its value where a field is `None`.
#[derive(Debug, Clone, Default)]
pub(super) struct UserChange {
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) display_name: Option<String>,
    /// True if the user was deleted. The row then keeps its id and sequence, and loses all personal data.
    pub(super) deleted: bool,
    pub(super) sequence: u64,
}

/// New values of a group's row. The row keeps its name if `name` is `None`.
#[derive(Debug, Default)]
pub(super) struct GroupChange {
    pub(super) name: Option<String>,
    pub(super) sequence: u64,
}

impl Changes {
    /// Adds up `events`. The events of one stream are in order.
    pub(super) fn of<'a>(
        events: impl IntoIterator<Item = Event<'a, FollowedKey, u64, FollowedEvent>>,
    ) -> Self {
        let mut changes = Self::default();
        for event in events {
            let sequence = event.sequence();
            match (event.key(), event.payload) {
                (Either::Left(id), Either::Left(payload)) => changes.user(*id, sequence, payload),
                (Either::Right(id), Either::Right(payload)) => changes.group(*id, sequence, payload),
                _ => unreachable!("the key and the payload of an event come from the same storage"),
            }
        }
        changes
    }

    fn user(&mut self, id: UserId, sequence: u64, event: &UserEvent) {
        let user = self.users.entry(id).or_default();
        user.sequence = sequence;
        match event {
            UserEvent::NameSet(name) => user.name = Some(name.to_string()),
            UserEvent::EmailSet(email) => user.email = Some(email.to_string()),
            UserEvent::DisplayNameSet { name, .. } => user.display_name = Some(name.as_str().into()),
            UserEvent::Deleted => *user = UserChange { deleted: true, sequence, ..UserChange::default() },
        }
    }

    fn group(&mut self, id: GroupId, sequence: u64, event: &GroupEvent) {
        let group = self.groups.entry(id).or_default();
        group.sequence = sequence;
        match event {
            GroupEvent::NameSet(name) => group.name = Some(name.to_string()),
            GroupEvent::MemberAdded(user) => drop(self.members.insert((id, *user), true)),
            GroupEvent::MemberRemoved(user) => drop(self.members.insert((id, *user), false)),
        }
    }
}
