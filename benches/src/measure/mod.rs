//! Measurement: exact counts where possible, otherwise times in pairs.

pub(crate) mod counted;
pub(crate) mod machine;
pub(crate) mod paired;
pub(crate) mod peak;
