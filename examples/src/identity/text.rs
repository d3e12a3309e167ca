//! The texts of users, validated once at the boundary and then passed on as types.
//!
//! Deserializing does not validate: a rule that becomes stricter must not make old events unreadable.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of a user or group: lower-case ASCII letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Name(String);

/// An e-mail address in lower case, so that two spellings of one address are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Email(String);

/// Name that a user chooses to be shown to others: one line of any text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DisplayName(String);

/// A text that breaks the rule of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct InvalidText {
    text: String,
    what: &'static str,
    rule: &'static str,
}

/// Maximum length of a text, in bytes.
const MAX_LENGTH: usize = 254;

impl FromStr for Name {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let rule = "it must be 1 to 254 lower-case letters, digits, `-`, `_` or `.`";
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let valid = (1..=MAX_LENGTH).contains(&text.len()) && text.chars().all(allowed);
        valid.then(|| Self(text.into())).ok_or(InvalidText { text: text.into(), what: "name", rule })
    }
}

impl FromStr for Email {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let rule = "it must have text on both sides of one `@`, no blanks, and at most 254 bytes";
        let sides =
            |(local, domain): (&str, &str)| !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let valid = text.len() <= MAX_LENGTH
            && text.split_once('@').is_some_and(sides)
            && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        valid.then(|| Self(text.to_lowercase())).ok_or(InvalidText {
            text: text.into(),
            what: "e-mail address",
            rule,
        })
    }
}

impl FromStr for DisplayName {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let valid = (1..=MAX_LENGTH).contains(&text.trim().len()) && !text.contains(char::is_control);
        valid.then(|| Self(text.trim().into())).ok_or(InvalidText {
            text: text.into(),
            what: "display name",
            rule: "it must be one line that is not blank, of at most 254 bytes",
        })
    }
}

impl DisplayName {
    /// Returns the text without the quotes that `Display` adds.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_an_address_are_equal() {
        assert_eq!("Ada@Example.org".parse::<Email>(), "ada@example.org".parse());
    }

    #[test]
    fn an_invalid_text_is_an_error_that_names_the_rule() {
        for text in ["", "ada", "@example.org", "ada@", "a@b@c", "a da@example.org", "ada@exa\nmple.org"] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
        for text in ["", "Ada", "a b", "a/b", "ada\u{1b}"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        let error = " \t".parse::<DisplayName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"" \t" is not a valid display name: it must be one line that is not blank, of at most 254 bytes"#
        );
    }
}
