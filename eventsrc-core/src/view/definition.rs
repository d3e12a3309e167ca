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
    /// [`InvalidViewName`] unless the name has 1 to 40 lower-case letters, digits and `_`, and begins with a letter.
    pub fn new<C: Into<String>>(
        name: &str,
        categories: impl IntoIterator<Item = C>,
    ) -> Result<Self, InvalidViewName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let well_formed = (1..=40).contains(&name.len())
            && name.bytes().all(plain)
            && name.starts_with(|first: char| first.is_ascii_lowercase());
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

/// A name that no view can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no view: a name has 1 to 40 lower-case letters, digits and '_', and begins with a letter"
)]
pub struct InvalidViewName(String);
