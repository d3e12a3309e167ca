//! The rows of the view.

use serde::Serialize;

use crate::identity::keys::{GroupId, UserId};

/// A user in the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// Id of the user.
    pub id: UserId,
    /// Unique name.
    pub name: String,
    /// Unique e-mail address.
    pub email: String,
    /// Name that is shown to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Sequence up to which the row has applied the user's stream.
    #[serde(skip)]
    pub sequence: u64,
}

/// A group in the view, with one page of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// Id of the group.
    pub id: GroupId,
    /// Unique name.
    pub name: String,
    /// Members that are not deleted, by name.
    pub members: Vec<UserRow>,
    /// Sequence up to which the row has applied the group's stream.
    #[serde(skip)]
    pub sequence: u64,
    /// Sum of the sequences of all members, including deleted ones. The group's sequence determines its members, and
    /// sequences only grow, so the sum grows with each change of a member.
    #[serde(skip)]
    pub members_sequence: u64,
}
