//! What names the streams: one stream a user, one a group, and one directory for all.

use std::borrow::Cow;

use eventsrc_core::StreamKey;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{Email, Name};

/// A user, for good: names and addresses change, and this does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

/// A group, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub Uuid);

/// The master stream of everything that has to be unique.
///
/// An invariant over many users is kept by one stream: whoever wants a name or an address claims it here first, and
/// of two who want the same, one finds it taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryKey;

/// What can be claimed in the directory, by one at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An e-mail address.
    Email(Email),
    /// The name of a user.
    UserName(Name),
    /// The name of a group.
    GroupName(Name),
}

impl StreamKey for UserId {
    fn category(&self) -> &str {
        "user"
    }

    fn id(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == "user").then(|| id.parse().ok().map(Self))?
    }
}

impl StreamKey for GroupId {
    fn category(&self) -> &str {
        "group"
    }

    fn id(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == "group").then(|| id.parse().ok().map(Self))?
    }
}

impl StreamKey for DirectoryKey {
    fn category(&self) -> &str {
        "directory"
    }

    fn id(&self) -> Cow<'_, str> {
        "all".into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        ((category, id) == ("directory", "all")).then_some(Self)
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Email(email) => write!(f, "e-mail address {email}"),
            Self::UserName(name) => write!(f, "user name {name}"),
            Self::GroupName(name) => write!(f, "group name {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_parts_and_from_no_other_kind() {
        let uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_002a);
        let (user, group) = (UserId(uuid), GroupId(uuid));
        assert_eq!(UserId::from_parts(user.category(), &user.id()), Some(user));
        assert_eq!(GroupId::from_parts(group.category(), &group.id()), Some(group));
        assert_eq!(UserId::from_parts(group.category(), &group.id()), None);
        assert_eq!(DirectoryKey::from_parts("directory", "all"), Some(DirectoryKey));
    }
}
