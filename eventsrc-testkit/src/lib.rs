#![doc = include_str!("../README.md")]

mod competitor;
pub mod conformance;
mod faulty;
pub mod history;
mod limits;
mod restorable;
mod round_trips;
pub mod scenario;
pub mod schema_lock;
pub mod view_harness;

pub use competitor::Competitor;
pub use faulty::{
    FaultSource, Faults, Faulty, FaultyFeed, FaultySnapshots, FaultyView, FeedFaultSource, FeedFaults,
    Injected, InjectedInFeed,
};
pub use restorable::{Restorable, RestorePoint};
pub use round_trips::assert_round_trips;
