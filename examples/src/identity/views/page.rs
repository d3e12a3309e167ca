//! Pages of users.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::rows::UserRow;
use crate::identity::keys::UserId;

/// Maximum number of users on a page.
pub const PAGE: usize = 50;

/// Start of a page: the position after one user, in the order of names. The default is the first page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageStart {
    /// Name of the last user before the page.
    pub name: String,
    /// Id of that user. Two users can have one name for a moment, because streams are applied independently.
    pub id: UserId,
}

impl PageStart {
    /// Returns the start of the page after `user`.
    pub fn after(user: &UserRow) -> Self {
        Self { name: user.name.clone(), id: user.id }
    }
}

impl Default for PageStart {
    fn default() -> Self {
        Self { name: String::new(), id: UserId(Uuid::nil()) }
    }
}

/// Writes `name,id`.
impl fmt::Display for PageStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.name, self.id.0)
    }
}

impl FromStr for PageStart {
    type Err = InvalidPageStart;

    fn from_str(text: &str) -> Result<Self, InvalidPageStart> {
        let (name, id) = text.split_once(',').ok_or(InvalidPageStart)?;
        Ok(Self { name: name.into(), id: UserId(id.parse().map_err(|_| InvalidPageStart)?) })
    }
}

/// A text that is not the start of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the start of a page must be `name,id` of a user")]
pub struct InvalidPageStart;
