//! Saves with optimistic concurrency: an [`Operation`] decides, [`SaveApi`] or [`Decider`] appends the events with a
//! conditional write, retries after a conflict, and recognises its own commit after a lost reply.

mod api;
mod batch;
mod catch_up;
mod decider;
mod gate;
mod group;
mod knowledge;
mod operation;
mod outcome;
mod recent_ids;
mod save_loop;
mod settings;
mod streams;
mod writer;

pub use api::SaveApi;
pub use decider::Decider;
pub use gate::SaveGate;
pub use operation::{Decision, Known, Operation, PreconditionFailed};
pub use outcome::{Outcome, SaveError, Saved, Unchanged};
pub use settings::{Context, SaveSettings};
