//! Snapshots: folded values at a sequence, and their storage. A query that starts from a snapshot reads only later
//! events.

mod contract;
mod memory;

pub use contract::{NoSnapshots, Snapshot, SnapshotAt, SnapshotMode, SnapshotStorage};
pub use memory::MemorySnapshots;
