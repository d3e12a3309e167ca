//! Synchronizers, which keep a view up to date with an event storage.
//!
//! A [`Synchronizer`] follows any number of change feeds and applies each commit to its view exactly once. Its method
//! [`at_least`](Synchronizer::at_least) gives read-your-writes: it reads the view only once the view contains a token.

mod applying;
mod at_least;
mod follow;
mod handle;
mod inbox;
mod pending_ack;
mod reorder_buffer;
mod repair;
mod retry_at_start;
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
