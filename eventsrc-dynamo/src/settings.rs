//! Settings of reads and writes.

use std::time::Duration;

/// Settings of a [`Dynamo`](crate::Dynamo).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// True for strongly consistent reads, which see every acknowledged write. Eventually consistent reads cost half. They may
    /// miss the latest commits: a save is still correct but retries more often, and a query may return an older value.
    /// Default: true.
    pub consistent_reads: bool,
    /// Size in bytes from which the payloads of a commit are compressed, if that makes them smaller; `None` to compress
    /// nothing. Compressed commits are readable with any setting. Default: 16 KiB.
    pub compress_from: Option<usize>,
    /// Maximum number of read units per second for all scans together; `None` for no limit. Default: `None`.
    pub scan_units_per_second: Option<u32>,
    /// Time for which a put relies on a commit that this handle has read or stored, and does not read it again. Zero: each put
    /// reads the commit before it. Default: 60 s.
    ///
    /// No commit is ever removed from a table, except by a restore under the same name. A restore takes longer than the
    /// default, and the requests in between fail and end the reliance.
    pub trust_seen_for: Duration,
    /// Maximum time for which a call waits for the answer of one request, including the retries of the SDK. After it, the call
    /// fails with kind `Unavailable`: a put may or may not be stored. Default: 10 s.
    pub answer_timeout: Duration,
}

impl Settings {
    /// Minimum charge of a read, also of one that finds nothing.
    pub(crate) fn min_read_units(&self) -> f64 {
        if self.consistent_reads { 1.0 } else { 0.5 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consistent_reads: true,
            compress_from: Some(16 << 10),
            scan_units_per_second: None,
            trust_seen_for: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(10),
        }
    }
}
