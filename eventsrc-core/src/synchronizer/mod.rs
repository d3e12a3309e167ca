//! Keeping a view up to date, from whatever feed, exactly once.

mod applying;
mod at_least;
mod follow;
mod handle;
mod inbox;
mod pending_ack;
mod reorder_buffer;
mod repair;
mod router;
mod settings;
mod shared;
mod source;
mod status;
mod sweep;
mod sweeper;
mod take_over;
mod worker;

pub use at_least::{AtLeastError, MissingStream, Stale, StaleReason};
pub use follow::FollowError;
pub use handle::Synchronizer;
pub use repair::RepairError;
pub use settings::{CircuitBreaker, Environment, SynchronizerSettings};
pub use status::{StallReason, StalledStream, SynchronizerState, SynchronizerStatus};
pub use sweeper::SweepReport;
pub use take_over::TakeOverError;
