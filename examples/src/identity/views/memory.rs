//! The view in memory: the reference for the other databases.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::StreamName;
use eventsrc_core::view::MemoryView;

use super::changes::{Changes, UserChange};
use super::followed::{FollowedEvent, FollowedKey, definition};
use super::page::{PAGE, PageStart};
use super::queries::{ViewQueries, ViewResult};
use super::rows::{GroupRow, UserRow};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::text::Email;

/// A view that lasts as long as the process.
pub type InMemoryView = MemoryView<FollowedKey, u64, FollowedEvent, Tables>;

/// The tables in memory.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    users: BTreeMap<UserId, UserChange>,
    groups: BTreeMap<GroupId, (String, u64)>,
    members: BTreeSet<(GroupId, UserId)>,
}

/// Creates an empty view.
pub fn in_memory() -> InMemoryView {
    MemoryView::new(definition(), |tables: &mut Tables, event| {
        tables.apply(Changes::of([event]));
        Ok(())
    })
}

impl Tables {
    fn apply(&mut self, changes: Changes) {
        for (id, change) in changes.users {
            let user = self.users.entry(id).or_default();
            *user = UserChange {
                name: change.name.or(user.name.take()).filter(|_| !change.deleted),
                email: change.email.or(user.email.take()).filter(|_| !change.deleted),
                display_name: change.display_name.or(user.display_name.take()).filter(|_| !change.deleted),
                ..change
            };
        }
        for (id, change) in changes.groups {
            let group = self.groups.entry(id).or_default();
            *group = (change.name.unwrap_or_else(|| std::mem::take(&mut group.0)), change.sequence);
        }
        for (member, is_member) in changes.members {
            if is_member {
                self.members.insert(member);
            } else {
                self.members.remove(&member);
            }
        }
    }

    fn user(&self, id: UserId) -> Option<UserRow> {
        let UserChange { name, email, display_name, sequence, .. } = self.users.get(&id)?.clone();
        Some(UserRow { id, name: name?, email: email?, display_name, sequence })
    }

    fn group(&self, id: GroupId, start: &PageStart) -> Option<GroupRow> {
        let (name, sequence) = self.groups.get(&id)?.clone();
        let members = || self.members.iter().filter(|(group, _)| *group == id).map(|(_, user)| *user);
        Some(GroupRow {
            id,
            name,
            members: page(members().filter_map(|user| self.user(user)), start),
            sequence,
            members_sequence: members()
                .filter_map(|user| self.users.get(&user))
                .map(|user| user.sequence)
                .sum(),
        })
    }
}

fn page(users: impl Iterator<Item = UserRow>, start: &PageStart) -> Vec<UserRow> {
    let is_after = |user: &UserRow| (&user.name, user.id) > (&start.name, start.id);
    let mut users = Vec::from_iter(users.filter(is_after));
    users.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    users.truncate(PAGE + 1);
    users
}

impl ViewQueries for InMemoryView {
    async fn user(&self, streams: &[StreamName], id: UserId) -> ViewResult<Option<UserRow>> {
        Ok(self.read(streams, |tables| tables.user(id)))
    }

    async fn users_by_email(&self, streams: &[StreamName], email: &Email) -> ViewResult<Vec<UserRow>> {
        let has_it = |user: &UserRow| user.email == email.to_string();
        Ok(self.read(streams, |tables| {
            tables.users.keys().filter_map(|id| tables.user(*id)).filter(has_it).collect()
        }))
    }

    async fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        start: &PageStart,
    ) -> ViewResult<Vec<UserRow>> {
        let begins = |user: &UserRow| user.name.starts_with(prefix);
        Ok(self.read(streams, |tables| {
            page(tables.users.keys().filter_map(|id| tables.user(*id)).filter(begins), start)
        }))
    }

    async fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        start: &PageStart,
    ) -> ViewResult<Option<GroupRow>> {
        Ok(self.read(streams, |tables| tables.group(id, start)))
    }
}
