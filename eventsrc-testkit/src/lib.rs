//! What a backend author tests with.

pub mod conformance;
mod faulty;
pub mod history;
pub mod scenario;

pub use faulty::{FaultSource, Faults, Faulty, FaultySnapshots, Injected};
