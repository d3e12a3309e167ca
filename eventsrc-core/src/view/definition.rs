//! Names, versions and categories of views.

use std::fmt;

/// Name and version of a view, and the categories of the streams that it follows.
///
/// A view whose code or tables change gets a new version. The new version is built while the old one serves, and then
/// takes over from it. Each version has its own positions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewDefinition {
    name: String,
    version: u32,
    categories: Vec<String>,
}

impl ViewDefinition {
    /// Creates version 1 of the view `name`, which follows the streams of `categories`.
    ///
    /// # Errors
    ///
    /// [`InvalidViewName`] unless the name consists of 1 to 40 lower-case letters, digits and `_`, begins with a
    /// letter, and does not end in `_v` and digits. Such an end is reserved: version 2 of `users` has its rows in the
    /// table `users_v2`.
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

    /// Sets the version.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Returns the name of the view.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the version of the view.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the categories of the streams that the view follows.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// True if the view follows the streams of `category`.
    pub fn follows(&self, category: &str) -> bool {
        self.categories.iter().any(|followed| followed == category)
    }
}

/// The name and the version, such as `users v2`.
impl fmt::Display for ViewDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// True if the name could be that of a version's table, such as `users_v2`.
fn ends_in_a_version(name: &str) -> bool {
    let rest = name.trim_end_matches(|last: char| last.is_ascii_digit());
    rest.len() < name.len() && rest.ends_with("_v")
}

/// Error for a malformed view name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid view name: use 1 to 40 lower-case letters, digits and '_', begin with a letter, and do not \
     end in '_v' and digits"
)]
pub struct InvalidViewName(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rejected(name: &str) -> bool {
        ViewDefinition::new(name, ["user"]).is_err()
    }

    #[test]
    fn malformed_names_are_rejected() {
        let long = "a".repeat(41);
        for name in ["", "Users", "user s", "users;", "üser", "1users", "_users", &long] {
            assert!(is_rejected(name), "{name:?}");
        }
        for name in ["a", "users", "users_2", "u1_", &long[1..]] {
            assert!(!is_rejected(name), "{name:?}");
        }
    }

    #[test]
    fn names_that_end_in_a_version_are_rejected() {
        for name in ["users_v1", "users_v0", "users_v12", "users_v007", "a_v4294967296", "users_v1_v2"] {
            assert!(is_rejected(name), "{name:?}");
        }
        for name in ["users_v", "v1", "usersv1", "users_v1_", "users_v1a", "users_1", "users_v_1"] {
            assert!(!is_rejected(name), "{name:?}");
        }
    }
}
