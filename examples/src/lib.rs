//! Programs on top of eventsrc; see the folders beside this one.

pub mod identity;
