//! How a DynamoDB table is used.

/// How a [`Dynamo`](crate::Dynamo) reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether reads see every write that was acknowledged before. Without it a read costs half, and may miss the latest
    /// commits: a save then costs a retry more often, and is as correct; a query may be older than its caller expects.
    pub consistent_reads: bool,
    /// From how many bytes on the payloads of a commit are deflated, if that makes them smaller; `None` for never. What is
    /// stored is read whatever this says.
    pub compress_from: Option<usize>,
    /// How many read units a second scans may consume together; `None` for as many as the table has.
    pub scan_units_per_second: Option<u32>,
}

impl Settings {
    /// The least that a read is charged, even of nothing.
    pub(crate) fn least_read_units(&self) -> f64 {
        if self.consistent_reads { 1.0 } else { 0.5 }
    }
}

/// Consistent reads, payloads deflated from 16 KiB on, and scans without a limit.
impl Default for Settings {
    fn default() -> Self {
        Self { consistent_reads: true, compress_from: Some(16 << 10), scan_units_per_second: None }
    }
}
