//! How things are measured: counted where they can be, timed in pairs where they cannot.

pub(crate) mod counted;
pub(crate) mod machine;
pub(crate) mod paired;
pub(crate) mod peak;
