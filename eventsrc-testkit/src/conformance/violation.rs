//! Violations of rules, and the macros that report them.

use std::fmt;

use eventsrc_core::StorageError;

/// Result of a rule: `Ok` if the backend keeps the rule.
pub(super) type RuleResult = Result<(), Violation>;

/// Description of how a backend violates a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    /// Creates a violation described by `text`, which is cut after 1,000 characters.
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        match text.char_indices().nth(1_000) {
            Some((end, _)) => Self(format!("{}…", &text[..end])),
            None => Self(text),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StorageError> for Violation {
    fn from(error: StorageError) -> Self {
        Self::new(format!("unexpected error: {error:?}"))
    }
}

/// Ends the rule with a violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::violation::Violation::new(format!($($text)+)));
        }
    };
}

/// Ends the rule with a violation unless `found` equals `expected`.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($text:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => $crate::conformance::violation::ensure!(
                *found == *expected,
                "{}: found {found:?}, expected {expected:?}",
                format!($($text)+)
            ),
        }
    };
}

pub(crate) use {ensure, ensure_eq};
