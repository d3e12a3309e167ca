//! Saving: check-and-set on a stream, bounded, and safe under lost replies.

mod api;
mod decider;
mod operation;
mod outcome;
mod save_loop;
mod settings;

pub use api::SaveApi;
pub use decider::Decider;
pub use operation::{Decision, Known, Operation, PreconditionFailed};
pub use outcome::{Outcome, SaveError, Saved};
pub use settings::{Context, SaveSettings};
