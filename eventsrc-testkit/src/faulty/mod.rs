//! Wrappers that inject faults from a seed.

mod failing_streams;
mod feed;
mod hang;
mod snapshots;
mod source;
mod storage;
mod view;

pub use feed::{FaultyFeed, FeedFaultSource, FeedFaults, InjectedInFeed};
pub use snapshots::FaultySnapshots;
pub use source::{FaultSource, Faults, Injected};
pub use storage::Faulty;
pub use view::FaultyView;
