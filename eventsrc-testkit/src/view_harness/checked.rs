//! Counts of a successful check.

/// Counts of the disturbances in a successful check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Schedules that were run.
    pub schedules: usize,
    /// Processes that crashed.
    pub crashes: usize,
    /// Processes that raced with another one.
    pub racing: usize,
    /// Changes that were delivered twice.
    pub repeated: u64,
    /// Changes that were delivered after later ones.
    pub reordered: u64,
    /// Changes that were lost.
    pub lost: u64,
    /// Calls of the view store that failed or whose reply was lost.
    pub failed: u64,
}
