//! What a backend author tests with.

pub mod conformance;
mod faulty;
pub mod history;
pub mod scenario;
pub mod view_harness;

pub use faulty::{
    FaultSource, Faults, Faulty, FaultyFeed, FaultySnapshots, FaultyView, FeedFaultSource, FeedFaults,
    Injected, InjectedInFeed,
};

/// Limit that ends what hangs. It measures nothing: a busy machine may be slow.
pub(crate) const HANG: std::time::Duration = std::time::Duration::from_mins(10);
