//! The embedded default of eventsrc.
