//! The folds of events into users, groups and claims.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::{Event, Fold, StreamName};

use super::events::{Claimed, DirectoryEvent, GroupEvent, UserEvent};
use super::keys::{DirectoryKey, Entry, GroupId, UserId};
use super::text::{DisplayName, Email, Name};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Unique name.
    pub name: Option<Claimed<Name>>,
    /// Unique e-mail address.
    pub email: Option<Claimed<Email>>,
    /// Name that is shown to others.
    pub display_name: Option<DisplayName>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Unique name.
    pub name: Option<Claimed<Name>>,
    /// Users that were added and not removed. Some can be deleted users; ids are never reused, so this is harmless.
    pub members: BTreeSet<UserId>,
}

/// The claim of an entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Stream that has the entry.
    pub owner: StreamName,
    /// Last sequence of the commit that made the claim, which identifies it.
    pub at: u64,
}

/// Folds the stream of a user into a [`User`]; no value after it is deleted.
#[derive(Debug, Clone, Copy)]
pub struct UserById;

impl Fold<UserId, u64, UserEvent> for UserById {
    type Key = UserId;
    type Value = User;

    fn apply(&self, _: &UserId, user: &mut Option<User>, event: Event<'_, UserId, u64, UserEvent>) {
        match event.payload {
            UserEvent::NameSet(name) => user.get_or_insert_default().name = Some(name.clone()),
            UserEvent::EmailSet(email) => user.get_or_insert_default().email = Some(email.clone()),
            UserEvent::DisplayNameSet(name) => user.get_or_insert_default().display_name = Some(name.clone()),
            UserEvent::Deleted => *user = None,
        }
    }
}

/// Folds the stream of a group into a [`Group`].
#[derive(Debug, Clone, Copy)]
pub struct GroupById;

impl Fold<GroupId, u64, GroupEvent> for GroupById {
    type Key = GroupId;
    type Value = Group;

    fn apply(&self, _: &GroupId, group: &mut Option<Group>, event: Event<'_, GroupId, u64, GroupEvent>) {
        let group = group.get_or_insert_default();
        match event.payload {
            GroupEvent::NameSet(name) => group.name = Some(name.clone()),
            GroupEvent::MemberAdded(user) => drop(group.members.insert(*user)),
            GroupEvent::MemberRemoved(user) => drop(group.members.remove(user)),
        }
    }
}

/// Folds the directory into the claims of some entries. One stream is folded for many keys.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsOn;

impl Fold<DirectoryKey, u64, DirectoryEvent> for ClaimsOn {
    type Key = BTreeSet<Entry>;
    type Value = BTreeMap<Entry, Claim>;

    fn apply(
        &self,
        entries: &BTreeSet<Entry>,
        claims: &mut Option<BTreeMap<Entry, Claim>>,
        event: Event<'_, DirectoryKey, u64, DirectoryEvent>,
    ) {
        let claims = claims.get_or_insert_default();
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } if entries.contains(entry) => {
                claims.insert(entry.clone(), Claim { owner: owner.clone(), at: event.commit.last() });
            }
            DirectoryEvent::Released { entry, claim } => {
                claims.retain(|claimed, current| claimed != entry || current.at != *claim);
            }
            DirectoryEvent::Claimed { .. } => {}
        }
    }
}

/// Folds the directory into the claims of one owner.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsOf;

impl Fold<DirectoryKey, u64, DirectoryEvent> for ClaimsOf {
    type Key = StreamName;
    type Value = BTreeMap<Entry, u64>;

    fn apply(
        &self,
        key: &StreamName,
        claims: &mut Option<BTreeMap<Entry, u64>>,
        event: Event<'_, DirectoryKey, u64, DirectoryEvent>,
    ) {
        let claims = claims.get_or_insert_default();
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } if owner == key => {
                claims.insert(entry.clone(), event.commit.last());
            }
            DirectoryEvent::Released { entry, claim } if claims.get(entry) == Some(claim) => {
                claims.remove(entry);
            }
            _ => {}
        }
    }
}
