//! Names in SQL that come from outside.

use std::fmt;

use eventsrc_core::{ErrorKind, StorageError};

/// The name of a schema, a table or a role, which is safe to be put into SQL. It is shown quoted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identifier(String);

/// Postgres cuts longer names off in silence.
const LONGEST: usize = 63;

impl Identifier {
    /// The name `text`; `of` says what it is the name of, such as "schema".
    ///
    /// # Errors
    ///
    /// `Invalid` unless it is made of lower-case letters, digits and `_`, does not begin with a digit, has at most 63
    /// of them, and is none that Postgres keeps for itself.
    pub(crate) fn new(of: &str, text: &str) -> Result<Self, StorageError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let well_formed = text.bytes().all(fits)
            && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
            && text.len() <= LONGEST;
        let reserved = text.starts_with("pg_") || text == "information_schema";
        if well_formed && !reserved {
            return Ok(Self(text.to_owned()));
        }
        let what = format!(
            "{text:?} cannot be the name of a {of}: it takes 1 to {LONGEST} lower-case letters, digits and `_`, \
             no digit first, and none of Postgres's own names"
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
    fn plain_names_are_taken_and_shown_quoted() {
        for name in ["eventsrc", "_a", "a1_b2", "select", &"x".repeat(63)] {
            assert_eq!(Identifier::new("schema", name).unwrap().to_string(), format!("\"{name}\""));
        }
    }

    #[test]
    fn names_that_could_mean_something_else_are_not() {
        let long = "x".repeat(64);
        let names =
            ["", "1a", "A", "a b", "a\"b", "a;b", "a.b", "ä", "a\0", "pg_x", "information_schema", &long];
        for name in names {
            let error = Identifier::new("schema", name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
        }
    }
}
