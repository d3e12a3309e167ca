//! Example programs on eventsrc. The folders next to `src` have their main functions.

#[cfg(feature = "demo")]
pub mod demo_aws;
pub mod git_history;
pub mod identity;

/// Compiles and runs the example of the README as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
