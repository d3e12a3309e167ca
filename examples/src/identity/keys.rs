//! The keys of the streams: one stream for each user and each group, and one directory.

use std::borrow::Cow;

use eventsrc_core::StreamKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::{Email, Name};

/// Id of a user. It never changes, unlike the name and the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

/// Id of a group. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GroupId(pub Uuid);

/// Key of the directory, the stream of everything that must be unique.
///
/// One stream enforces an invariant over many users: a command first claims a name or an address here, and of two racing
/// claims of the same text one is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryKey;

/// An entry of the directory. Each entry has at most one owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
    fn keys_are_parsed_from_the_parts_of_their_own_category_only() {
        let uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_002a);
        let (user, group) = (UserId(uuid), GroupId(uuid));
        assert_eq!(UserId::from_parts(user.category(), &user.id()), Some(user));
        assert_eq!(GroupId::from_parts(group.category(), &group.id()), Some(group));
        assert_eq!(UserId::from_parts(group.category(), &group.id()), None);
        assert_eq!(DirectoryKey::from_parts("directory", "all"), Some(DirectoryKey));
    }
}
