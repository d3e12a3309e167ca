//! The folds, which make users, groups and claims of events.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::{Event, Fold, StreamName};

use super::events::{Claimed, DirectoryEvent, GroupEvent, UserEvent};
use super::keys::{DirectoryKey, Entry, GroupId, UserId};
use super::text::{DisplayName, Email, Name};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// What the user is called.
    pub name: Option<Claimed<Name>>,
    /// Where the user is reached.
    pub email: Option<Claimed<Email>>,
    /// How the user is addressed.
    pub display_name: Option<DisplayName>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// What the group is called.
    pub name: Option<Claimed<Name>>,
    /// Who was added and did not leave. Some may have been deleted since: ids are never used again, so it does no harm.
    pub members: BTreeSet<UserId>,
}

/// Who has an entry of the directory, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The stream it belongs to.
    pub owner: StreamName,
    /// The last sequence of the commit that claimed it, which names the claim.
    pub at: u64,
}

/// A user's stream as a user; none once deleted.
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

/// A group's stream as a group.
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

/// The directory as the claims on the entries asked for: one stream, as many answers as there are questions.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsOn;

impl Fold<DirectoryKey, u64, DirectoryEvent> for ClaimsOn {
    type Key = BTreeSet<Entry>;
    type Value = BTreeMap<Entry, Claim>;

    fn apply(
        &self,
        asked: &BTreeSet<Entry>,
        claims: &mut Option<BTreeMap<Entry, Claim>>,
        event: Event<'_, DirectoryKey, u64, DirectoryEvent>,
    ) {
        let claims = claims.get_or_insert_default();
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } if asked.contains(entry) => {
                claims.insert(entry.clone(), Claim { owner: owner.clone(), at: event.commit.last() });
            }
            DirectoryEvent::Released { entry, claim } => {
                claims.retain(|held, current| held != entry || current.at != *claim);
            }
            DirectoryEvent::Claimed { .. } => {}
        }
    }
}

/// The directory as the claims of one owner.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsOf;

impl Fold<DirectoryKey, u64, DirectoryEvent> for ClaimsOf {
    type Key = StreamName;
    type Value = BTreeMap<Entry, u64>;

    fn apply(
        &self,
        asked: &StreamName,
        claims: &mut Option<BTreeMap<Entry, u64>>,
        event: Event<'_, DirectoryKey, u64, DirectoryEvent>,
    ) {
        let claims = claims.get_or_insert_default();
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } if owner == asked => {
                claims.insert(entry.clone(), event.commit.last());
            }
            DirectoryEvent::Released { entry, claim } if claims.get(entry) == Some(claim) => {
                claims.remove(entry);
            }
            _ => {}
        }
    }
}
