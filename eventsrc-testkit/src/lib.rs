//! What a backend author tests with.

pub mod conformance;
mod faulty;
pub mod history;
#[cfg(feature = "servers")]
pub mod proxy;
pub mod scenario;
#[cfg(feature = "servers")]
pub mod servers;
pub mod view_harness;

pub use faulty::{
    FaultSource, Faults, Faulty, FaultyFeed, FaultySnapshots, FaultyView, FeedFaultSource, FeedFaults,
    Injected, InjectedInFeed,
};
