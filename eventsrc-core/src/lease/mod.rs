//! Leases, by which the workers of a group share the shards of a bus.
//!
//! [`LeaseStore`] is the contract of a database that stores leases. [`LeaseWatch`] detects workers that stopped
//! renewing their leases, and [`LeasePlan`] decides which leases a worker takes or claims next.

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
