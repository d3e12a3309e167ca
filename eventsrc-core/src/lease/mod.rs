//! Leases, by which the workers of a fleet share the shards of a change bus.

mod balance;
mod contract;
#[cfg(test)]
mod fleet;
mod memory;
mod watch;

pub use balance::LeasePlan;
pub use contract::{Checkpoint, Lease, LeaseStore, NewLease, Renewal, ShardPosition};
pub use memory::MemoryLeases;
pub use watch::{LeaseObservation, LeaseWatch};
