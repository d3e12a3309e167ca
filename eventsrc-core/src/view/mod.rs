//! Views: read models in some store, kept up to date by a [`Synchronizer`](crate::Synchronizer).
//!
//! [`ViewStore`] is the contract of a database that stores a view and its positions, and [`VersionedStore`] that of one
//! that stores several versions of a view. [`MemoryView`] is the reference.

mod batch;
pub(crate) mod contract;
mod definition;
mod memory;
mod scan_rows;

pub use batch::{Batch, CommitRun, PositionChange};
pub use contract::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewError, ViewStore,
};
pub use definition::{InvalidViewName, ViewDefinition};
pub use memory::MemoryView;
pub use scan_rows::{Positions, RowVisitor, ScanRows, StreamColumn, ViewRow};
