//! Programs on top of eventsrc; see the folders beside this one.

#[cfg(feature = "demo")]
pub mod demo_aws;
pub mod git_history;
pub mod identity;

/// The example of the README has to compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
