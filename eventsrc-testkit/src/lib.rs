#![doc = include_str!("../README.md")]

pub mod conformance;
mod faulty;
pub mod history;
mod limits;
pub mod scenario;
pub mod view_harness;

pub use faulty::{
    FaultSource, Faults, Faulty, FaultyFeed, FaultySnapshots, FaultyView, FeedFaultSource, FeedFaults,
    Injected, InjectedInFeed,
};
