//! The texts that people type in: checked once, where they come in, and passed on as types.
//!
//! What is stored is read back as it is: a rule that becomes stricter must not make old events unreadable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a user or a group is called: lower-case letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

/// An e-mail address, in lower case: two spellings of one address are one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

/// How a user wants to be addressed: one line of any text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DisplayName(String);

/// A text that breaks the rule of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct InvalidText {
    text: String,
    what: &'static str,
    rule: &'static str,
}

const LONGEST: usize = 254;

impl FromStr for Name {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let rule = "it has lower-case letters, digits, `-`, `_` and `.` only, and at least one of them";
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let valid = (1..=LONGEST).contains(&text.len()) && text.chars().all(allowed);
        valid.then(|| Self(text.into())).ok_or(InvalidText { text: text.into(), what: "name", rule })
    }
}

impl FromStr for Email {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let rule = "it has something on both sides of one `@`, and no blanks";
        let sides =
            |(local, domain): (&str, &str)| !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let valid = text.len() <= LONGEST
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
        let valid = (1..=LONGEST).contains(&text.trim().len()) && !text.contains(char::is_control);
        valid.then(|| Self(text.trim().into())).ok_or(InvalidText {
            text: text.into(),
            what: "display name",
            rule: "it is one line that is not blank",
        })
    }
}

impl DisplayName {
    /// The text, without the quotes in which it is shown.
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
    fn two_spellings_of_an_address_are_one_address() {
        assert_eq!("Ada@Example.org".parse::<Email>(), "ada@example.org".parse());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_name() {
        for text in ["", "ada", "@example.org", "ada@", "a@b@c", "a da@example.org", "ada@exa\nmple.org"] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
        for text in ["", "Ada", "a b", "a/b", "ada\u{1b}"] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        let error = " \t".parse::<DisplayName>().unwrap_err();
        assert_eq!(error.to_string(), r#"" \t" is no display name: it is one line that is not blank"#);
    }
}
