//! Scenarios that read like prose.
