//! The view: users by id, by address and by name, and groups with their members, in tables.
//!
//! A fold answers about one stream. The view answers about all of them, at the price of being a little behind; a token
//! says how far behind it may be.

mod changes;
mod feed;
mod kept;
mod memory;
mod postgres;
mod sqlite;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use eventsrc_core::storage::Either;
use eventsrc_core::view::{StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use serde::Serialize;
use uuid::Uuid;

pub use kept::{Followed, Kept};
pub use memory::{InMemoryView, in_memory};
pub use postgres::{InPostgresView, in_postgres};
pub use sqlite::{InSqliteView, in_sqlite};

use super::events::{GroupEvent, UserEvent};
use super::keys::{GroupId, UserId};
use super::text::Email;

/// What the view follows: users' streams, and groups'.
pub type FollowedKey = Either<UserId, GroupId>;

/// What happens in those streams.
pub type FollowedEvent = Either<UserEvent, GroupEvent>;

/// The name and version of the view, and what it follows.
pub fn definition() -> ViewDefinition {
    ViewDefinition::new("identity", ["user", "group"]).expect("the name is well-formed")
}

/// A user as the view has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// The user's id.
    pub id: UserId,
    /// What the user is called.
    pub name: String,
    /// Where the user is reached.
    pub email: String,
    /// How the user is addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The sequence of the user's stream that this is as new as.
    #[serde(skip)]
    pub sequence: u64,
}

/// A group as the view has it, with one page of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// The group's id.
    pub id: GroupId,
    /// What the group is called.
    pub name: String,
    /// Who is in it and was not deleted, by name.
    pub members: Vec<UserRow>,
    /// The sequence of the group's stream that this is as new as.
    #[serde(skip)]
    pub sequence: u64,
    /// The sum of the sequences of all who are in it, deleted or not. Who is in it follows from the group's sequence, and
    /// sequences only grow: so with each change to a member, the sum grows.
    #[serde(skip)]
    pub members_sequence: u64,
}

/// How many users a page has at most.
pub const PAGE: usize = 50;

/// Where a page begins: after this user, in the order of names. The default is before all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The name of the last user before the page.
    pub name: String,
    /// The id of that user: for a moment, two may have one name, because their streams are applied apart.
    pub id: UserId,
}

impl After {
    /// The page that begins after `user`.
    pub fn user(user: &UserRow) -> Self {
        Self { name: user.name.clone(), id: user.id }
    }
}

impl Default for After {
    fn default() -> Self {
        Self { name: String::new(), id: UserId(Uuid::nil()) }
    }
}

/// `name,id`.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.name, self.id.0)
    }
}

impl FromStr for After {
    type Err = InvalidAfter;

    fn from_str(text: &str) -> Result<Self, InvalidAfter> {
        let (name, id) = text.split_once(',').ok_or(InvalidAfter)?;
        Ok(Self { name: name.into(), id: UserId(id.parse().map_err(|_| InvalidAfter)?) })
    }
}

/// A text that says nothing about where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page begins after `name,id`")]
pub struct InvalidAfter;

/// An answer, and where the streams in question were when it was read.
pub type Found<T> = Result<(Vec<StreamPosition<u64>>, T), StorageError>;

/// What can be asked of the view, whatever database it is kept in.
///
/// Each question names `streams` as well, and the answer has their places from the same snapshot as the rows: that is
/// how [`at_least`](eventsrc_core::Synchronizer::at_least) knows that the rows are as new as a token.
pub trait Questions: ViewStore<Key = FollowedKey, Sequence = u64, Payload = FollowedEvent> {
    /// A user that was not deleted.
    fn user(&self, streams: &[StreamName], id: UserId)
    -> impl Future<Output = Found<Option<UserRow>>> + Send;

    /// Who is reached there. It may be two for a moment, when one gave the address up and the other took it.
    fn users_by_email(
        &self,
        streams: &[StreamName],
        email: &Email,
    ) -> impl Future<Output = Found<Vec<UserRow>>> + Send;

    /// The users whose names begin with `prefix`, by name, from `after` on; one more than a page has, if there are.
    fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        after: &After,
    ) -> impl Future<Output = Found<Vec<UserRow>>> + Send;

    /// A group, and its members from `after` on; one more than a page has, if there are.
    fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        after: &After,
    ) -> impl Future<Output = Found<Option<GroupRow>>> + Send;
}

impl<V: Questions> Questions for Arc<V> {
    fn user(
        &self,
        streams: &[StreamName],
        id: UserId,
    ) -> impl Future<Output = Found<Option<UserRow>>> + Send {
        V::user(self, streams, id)
    }

    fn users_by_email(
        &self,
        streams: &[StreamName],
        email: &Email,
    ) -> impl Future<Output = Found<Vec<UserRow>>> + Send {
        V::users_by_email(self, streams, email)
    }

    fn users_by_name(
        &self,
        streams: &[StreamName],
        prefix: &str,
        after: &After,
    ) -> impl Future<Output = Found<Vec<UserRow>>> + Send {
        V::users_by_name(self, streams, prefix, after)
    }

    fn group(
        &self,
        streams: &[StreamName],
        id: GroupId,
        after: &After,
    ) -> impl Future<Output = Found<Option<GroupRow>>> + Send {
        V::group(self, streams, id, after)
    }
}
