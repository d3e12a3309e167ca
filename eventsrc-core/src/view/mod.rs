//! Views: rows that are made of events, kept beside the positions up to which they are made.

mod batch;
pub(crate) mod contract;
mod definition;
mod memory;

pub use batch::{Batch, CommitRun, PositionChange};
pub use contract::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewError, ViewStore,
};
pub use definition::{InvalidViewName, ViewDefinition};
pub use memory::MemoryView;
