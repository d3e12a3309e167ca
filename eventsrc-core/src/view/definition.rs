//! What a view is called, and what it follows.

use std::fmt;

/// The name and version of a view, and the categories of the streams that it follows.
///
/// A view whose code or tables change gets a new version, which is built beside the old one and takes over from it. Positions
/// belong to a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewDefinition {
    name: String,
    version: u32,
    categories: Vec<String>,
}

impl ViewDefinition {
    /// Version 1 of the view `name`, which follows the streams of these categories.
    ///
    /// # Errors
    ///
    /// [`InvalidViewName`] unless the name has 1 to 40 lower-case letters, digits and `_`, begins with a letter, and does not
    /// end in `_v` and digits, because the rows of version 2 of `users` lie in `users_v2`.
    pub fn new<C: Into<String>>(
        name: &str,
        categories: impl IntoIterator<Item = C>,
    ) -> Result<Self, InvalidViewName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let well_formed = (1..=40).contains(&name.len())
            && name.bytes().all(plain)
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && !ends_in_a_version(name);
        if !well_formed {
            return Err(InvalidViewName(name.into()));
        }
        Ok(Self {
            name: name.into(),
            version: 1,
            categories: categories.into_iter().map(Into::into).collect(),
        })
    }

    /// The same view at this version.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version of it this is.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The categories of the streams that it follows.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Whether it follows the streams of this category.
    pub fn follows(&self, category: &str) -> bool {
        self.categories.iter().any(|followed| followed == category)
    }
}

/// `name v2`.
impl fmt::Display for ViewDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// Whether a name is one that the rows of some version could lie under, such as `users_v2`.
fn ends_in_a_version(name: &str) -> bool {
    let rest = name.trim_end_matches(|last: char| last.is_ascii_digit());
    rest.len() < name.len() && rest.ends_with("_v")
}

/// A name that no view can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no view: a name has 1 to 40 lower-case letters, digits and '_', begins with a letter, and does not end \
     in '_v' and digits"
)]
pub struct InvalidViewName(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(name: &str) -> bool {
        ViewDefinition::new(name, ["user"]).is_err()
    }

    #[test]
    fn names_that_no_table_could_have_are_refused() {
        let long = "a".repeat(41);
        for name in ["", "Users", "user s", "users;", "üser", "1users", "_users", &long] {
            assert!(is_refused(name), "{name:?}");
        }
        for name in ["a", "users", "users_2", "u1_", &long[1..]] {
            assert!(!is_refused(name), "{name:?}");
        }
    }

    #[test]
    fn names_that_end_in_a_version_are_refused() {
        for name in ["users_v1", "users_v0", "users_v12", "users_v007", "a_v4294967296", "users_v1_v2"] {
            assert!(is_refused(name), "{name:?}");
        }
        for name in ["users_v", "v1", "usersv1", "users_v1_", "users_v1a", "users_1", "users_v_1"] {
            assert!(!is_refused(name), "{name:?}");
        }
    }
}
