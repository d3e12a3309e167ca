//! The folds of events into users, groups and claims.

use std::collections::{BTreeSet, HashMap};

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
            UserEvent::DisplayNameSet { name, .. } => {
                user.get_or_insert_default().display_name = Some(name.clone());
            }
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

/// All claims of the directory, by entry and by owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    by_entry: HashMap<Entry, Claim>,
    by_owner: HashMap<StreamName, BTreeSet<Entry>>,
}

impl Claims {
    /// Returns the claim of `entry`.
    pub fn on(&self, entry: &Entry) -> Option<&Claim> {
        self.by_entry.get(entry)
    }

    /// Returns the entries of `owner`, each with its claim.
    pub fn of(&self, owner: &StreamName) -> impl Iterator<Item = (&Entry, &Claim)> {
        let entries = self.by_owner.get(owner).into_iter().flatten();
        entries.filter_map(|entry| Some((entry, self.by_entry.get(entry)?)))
    }

    fn insert(&mut self, entry: &Entry, claim: Claim) {
        self.remove(entry);
        self.by_owner.entry(claim.owner.clone()).or_default().insert(entry.clone());
        self.by_entry.insert(entry.clone(), claim);
    }

    fn remove(&mut self, entry: &Entry) {
        let Some(claim) = self.by_entry.remove(entry) else { return };
        if let Some(entries) = self.by_owner.get_mut(&claim.owner) {
            entries.remove(entry);
            if entries.is_empty() {
                self.by_owner.remove(&claim.owner);
            }
        }
    }
}

impl FromIterator<(Entry, Claim)> for Claims {
    fn from_iter<T: IntoIterator<Item = (Entry, Claim)>>(claims: T) -> Self {
        let mut all = Self::default();
        claims.into_iter().for_each(|(entry, claim)| all.insert(&entry, claim));
        all
    }
}

/// Folds the directory into all its claims. One value serves the commands for every entry, so that a claim costs no more
/// in a large directory than in a small one.
#[derive(Debug, Clone, Copy)]
pub struct AllClaims;

impl Fold<DirectoryKey, u64, DirectoryEvent> for AllClaims {
    type Key = DirectoryKey;
    type Value = Claims;

    fn apply(
        &self,
        _: &DirectoryKey,
        claims: &mut Option<Claims>,
        event: Event<'_, DirectoryKey, u64, DirectoryEvent>,
    ) {
        let claims = claims.get_or_insert_default();
        match event.payload {
            DirectoryEvent::Claimed { entry, owner } => {
                claims.insert(entry, Claim { owner: owner.clone(), at: event.commit.last() });
            }
            DirectoryEvent::Released { entry, claim } => {
                if claims.on(entry).is_some_and(|current| current.at == *claim) {
                    claims.remove(entry);
                }
            }
        }
    }
}
