//! Size of the write-ahead log.
//!
//! SQLite writes the log from its start again at a moment at which all of it is in the file and no reader uses it. While
//! reads overlap, that moment does not come by itself, and the log grows. The writer then makes new readers use the file,
//! and waits for the readers that still use the log.

use std::path::PathBuf;

use rusqlite::Connection;

/// Limit of the write-ahead log of a connection.
pub(crate) struct LogLimit {
    path: PathBuf,
    /// Size at which the log is truncated next.
    next: u64,
}

/// Bytes of the log at which it is truncated: twice the size at which SQLite checkpoints it.
pub(crate) const LOG_LIMIT: u64 = 32 << 20;

/// Growth in bytes between two attempts, if readers use the log for long. Each attempt makes the writer wait.
const GROWTH_PER_ATTEMPT: u64 = 8 << 20;

impl LogLimit {
    /// The limit of the log of `connection`.
    pub(crate) fn new(connection: &Connection) -> Self {
        let path = format!("{}-wal", connection.path().unwrap_or_default()).into();
        Self { path, next: LOG_LIMIT }
    }

    /// True if the log is longer than its limit.
    pub(crate) fn is_exceeded(&mut self) -> bool {
        let size = self.size();
        if size < LOG_LIMIT {
            self.next = LOG_LIMIT;
        }
        size >= self.next
    }

    /// Truncates the log, after a wait of at most the busy timeout for readers that use it. If one uses it for longer, the
    /// log stays, and the next attempt is made when it has grown.
    pub(crate) fn truncate(&mut self, connection: &Connection) {
        // A log that is too long is no failure of a write.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.next = LOG_LIMIT.max(self.size() + GROWTH_PER_ATTEMPT);
    }

    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}
