//! Settings of a database.

use std::time::Duration;

/// Settings of a [`Database`](crate::Database). Durability is not among them: each acknowledged commit is synced to the
/// disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest wait for a lock on the file that another process holds. After it, a call fails with
    /// `ErrorKind::Unavailable`. Default: 5 s.
    pub busy_timeout: Duration,
    /// Number of reader threads, at least 1. They run in parallel with each other and with the writer thread. Default: 4.
    pub readers: usize,
    /// Largest number of commits in a page, at least 1. Default: 256.
    pub commits_per_page: usize,
    /// Bytes of payloads and metadata at which a page ends. A page holds whole commits, so its last commit may exceed
    /// the limit. Default: 1 MiB.
    pub bytes_per_page: usize,
    /// Largest size of the file in bytes, without its write-ahead log. A write beyond it fails with
    /// `ErrorKind::Refused`, as on a full disk. Default: `None`, no limit.
    pub largest_file: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            commits_per_page: 256,
            bytes_per_page: 1 << 20,
            largest_file: None,
        }
    }
}
