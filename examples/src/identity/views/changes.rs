//! What events do to the rows, whatever database those are in.

use std::collections::BTreeMap;

use eventsrc_core::Event;
use eventsrc_core::storage::Either;

use super::{FollowedEvent, FollowedKey};
use crate::identity::events::{GroupEvent, UserEvent};
use crate::identity::keys::{GroupId, UserId};

/// What some events come to: each row once, and in the order of the keys, so that one statement can write them all and
/// two transactions never wait for each other in a circle.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) users: BTreeMap<UserId, UserChange>,
    pub(super) groups: BTreeMap<GroupId, GroupChange>,
    /// Whether the user is in the group.
    pub(super) members: BTreeMap<(GroupId, UserId), bool>,
}

/// What becomes of a user's row. Where a text is `None`, the row keeps what it has.
#[derive(Debug, Clone, Default)]
pub(super) struct UserChange {
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) display_name: Option<String>,
    /// The row keeps its id and its sequence, and loses all that is personal.
    pub(super) deleted: bool,
    pub(super) sequence: u64,
}

/// What becomes of a group's row. Where the name is `None`, the row keeps what it has.
#[derive(Debug, Default)]
pub(super) struct GroupChange {
    pub(super) name: Option<String>,
    pub(super) sequence: u64,
}

impl Changes {
    /// What `events`, of which those of one stream are in order, come to.
    pub(super) fn of<'a>(
        events: impl IntoIterator<Item = Event<'a, FollowedKey, u64, FollowedEvent>>,
    ) -> Self {
        let mut changes = Self::default();
        for event in events {
            let sequence = event.sequence();
            match (event.key(), event.payload) {
                (Either::Left(id), Either::Left(payload)) => changes.user(*id, sequence, payload),
                (Either::Right(id), Either::Right(payload)) => changes.group(*id, sequence, payload),
                _ => unreachable!("a storage that stands beside another keeps its own payloads"),
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
            UserEvent::DisplayNameSet(name) => user.display_name = Some(name.as_str().into()),
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
