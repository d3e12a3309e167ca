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
    /// Number of further reader threads for queries and digests of views, at least 1. They start with the first query.
    /// Default: 2.
    pub view_readers: usize,
    /// Largest number of writes that wait until they are on the disk, at least 1: commits, snapshots and changes of views. A
    /// further call fails at once with `ErrorKind::Overloaded` and stores nothing. Default: 16,384.
    pub waiting_commits: usize,
    /// Largest number of bytes of waiting commits and snapshots. A further call fails at once with `ErrorKind::Overloaded`
    /// and stores nothing. A single commit may be larger if no other write waits. Default: 64 MiB.
    pub waiting_bytes: usize,
    /// Largest number of reads that wait for a reader thread, at least 1, and as many that wait for a reader thread of views.
    /// A further call fails at once with `ErrorKind::Overloaded`. Default: 4,096.
    pub waiting_reads: usize,
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
            view_readers: 2,
            waiting_commits: 16 * 1024,
            waiting_bytes: 64 << 20,
            waiting_reads: 4096,
            commits_per_page: 256,
            bytes_per_page: 1 << 20,
            largest_file: None,
        }
    }
}
