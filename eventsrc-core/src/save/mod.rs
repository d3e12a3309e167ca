//! Saves with optimistic concurrency: an [`Operation`] decides, [`SaveApi`] or [`Decider`] appends the events with a
//! conditional write, retries after a conflict, and recognises its own commit after a lost reply.

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
