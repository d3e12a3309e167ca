//! Promises of a synchronizer, on the in-memory reference backends.

mod acknowledgements;
mod at_least;
mod failing_view_store;
mod ordering;
mod quarantine;
mod rebuilds;
mod retry_at_start;
mod set_up;
mod sweeps;
