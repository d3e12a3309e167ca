//! The events: small facts, each of which sets or unsets one thing.
//!
//! There is no event that creates: a sign-up sets a name and an address like any later change, so whoever follows
//! addresses follows one kind of event.

use eventsrc_core::StreamName;
use serde::{Deserialize, Serialize};

use super::keys::{Entry, UserId};
use super::text::{DisplayName, Email, Name};

/// What happens to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserEvent {
    /// Is called so from now on.
    NameSet(Claimed<Name>),
    /// Has this address from now on.
    EmailSet(Claimed<Email>),
    /// Is addressed so from now on.
    DisplayNameSet(DisplayName),
    /// Is gone, for good. Nothing follows.
    Deleted,
}

/// What happens to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupEvent {
    /// Is called so from now on.
    NameSet(Claimed<Name>),
    /// The user was added to the group.
    MemberAdded(UserId),
    /// The user left the group.
    MemberRemoved(UserId),
}

/// What happens in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryEvent {
    /// The entry belongs to a stream. The last sequence of this commit names the claim.
    Claimed {
        /// What is claimed.
        entry: Entry,
        /// Whose it is.
        owner: StreamName,
    },
    /// A claim was given up. An entry that was claimed again since stays with the later claim.
    Released {
        /// What was claimed.
        entry: Entry,
        /// The claim that is given up.
        claim: u64,
    },
}

/// A text that the directory holds for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed<T> {
    /// The text.
    pub text: T,
    /// The sequence in the directory of the commit that claimed it: a later claim is a greater one.
    pub claim: u64,
}

impl<T: std::fmt::Display> std::fmt::Display for Claimed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}
