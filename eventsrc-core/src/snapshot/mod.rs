//! Folded values at a sequence, and where they are kept so that a fold need not begin at the first event.

mod contract;
mod memory;

pub use contract::{NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
pub use memory::MemorySnapshots;
