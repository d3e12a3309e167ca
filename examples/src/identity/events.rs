//! The events: small facts. Each of them sets or removes one thing.
//!
//! No event creates a user or a group: a sign-up sets a name and an address, like any later change. A reader of addresses
//! therefore needs one kind of event.

use eventsrc_core::StreamName;
use eventsrc_core::codec::{Kind, Kinds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::{Entry, UserId};
use super::text::{DisplayName, Email, Name};

/// An event of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserEvent {
    /// The name was set.
    NameSet(Claimed<Name>),
    /// The e-mail address was set.
    EmailSet(Claimed<Email>),
    /// The display name was set. At version 1, the event was the name alone.
    DisplayNameSet {
        /// The name.
        name: DisplayName,
        /// The name that it replaced, if there was one.
        before: Option<DisplayName>,
    },
    /// The user was deleted. No event follows.
    Deleted,
}

impl UserEvent {
    /// Returns the codec, which reads all versions that were ever written.
    pub fn codec() -> Kinds<Self> {
        let from_1 = |name| Ok(Self::DisplayNameSet { name, before: None });
        Kinds::new().with("display_name_set", Kind::at(2).upcast(from_1))
    }
}

/// An event of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupEvent {
    /// The name was set.
    NameSet(Claimed<Name>),
    /// The user was added to the group.
    MemberAdded(UserId),
    /// The user was removed from the group.
    MemberRemoved(UserId),
}

/// An event of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryEvent {
    /// The entry was claimed for a stream. The last sequence of this commit identifies the claim.
    Claimed {
        /// The claimed entry.
        entry: Entry,
        /// The stream that has the entry.
        #[schemars(with = "String")]
        owner: StreamName,
    },
    /// A claim was released. If the entry was claimed again since, the later claim stays.
    Released {
        /// The claimed entry.
        entry: Entry,
        /// The released claim.
        claim: u64,
    },
}

/// A text that is claimed in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claimed<T> {
    /// The text.
    pub text: T,
    /// Sequence in the directory of the commit that claimed the text. A later claim has a greater sequence.
    pub claim: u64,
}

impl<T: std::fmt::Display> std::fmt::Display for Claimed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}
