//! SQL identifiers that come from outside of this crate.

use std::fmt;

use eventsrc_core::{ErrorKind, StorageError};

/// Name of a schema, a table or a role that is safe to insert into SQL. It is displayed in double quotes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identifier(String);

/// Longest identifier, in bytes. Postgres truncates longer ones silently.
const MAX_LENGTH: usize = 63;

impl Identifier {
    /// Identifier `text` of an object of the kind `kind`, such as "schema".
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] unless it consists of 1 to 63 lower-case letters, digits and `_`, does not start with a
    /// digit, and is not reserved by Postgres.
    pub(crate) fn new(kind: &str, text: &str) -> Result<Self, StorageError> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_well_formed = text.bytes().all(is_allowed)
            && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
            && text.len() <= MAX_LENGTH;
        let is_reserved = text.starts_with("pg_") || text == "information_schema";
        if is_well_formed && !is_reserved {
            return Ok(Self(text.to_owned()));
        }
        let what = format!(
            "{text:?} is not a valid name of a {kind}: use 1 to {MAX_LENGTH} lower-case letters, digits and `_`, no \
             digit first, and no name that Postgres reserves"
        );
        Err(StorageError::new(ErrorKind::Invalid, what))
    }

    /// The name without quotes.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_are_displayed_quoted() {
        for name in ["eventsrc", "_a", "a1_b2", "select", &"x".repeat(63)] {
            assert_eq!(Identifier::new("schema", name).unwrap().to_string(), format!("\"{name}\""));
        }
    }

    #[test]
    fn malformed_and_reserved_names_are_invalid() {
        let long = "x".repeat(64);
        let names =
            ["", "1a", "A", "a b", "a\"b", "a;b", "a.b", "ä", "a\0", "pg_x", "information_schema", &long];
        for name in names {
            let error = Identifier::new("schema", name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
        }
    }
}
