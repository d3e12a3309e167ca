//! What SQLite says, told as what the caller does next.

use std::sync::Arc;

use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::{ErrorCode, ffi};

/// An error of SQLite. It can be cloned, because all commits of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Arc<rusqlite::Error>,
}

impl Failure {
    /// The failure of `doing` something, a clause such as "cannot store the commit".
    pub(crate) fn new(doing: &str, error: rusqlite::Error) -> Self {
        let (kind, why) = judge(&error);
        Self { kind, what: format!("{doing}: {why}"), source: Arc::new(error) }
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.what).because(failure.source)
    }
}

/// Whether another connection holds a lock that this one waits for.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn judge(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    let Some(sqlite) = error.sqlite_error() else {
        return (ErrorKind::Corrupt, "what is stored is not what was written");
    };
    match sqlite.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            (ErrorKind::Unavailable, "the file is in use by another program")
        }
        ErrorCode::DiskFull => (ErrorKind::Refused, "the disk is full, or the file as large as it may be"),
        // The shared index of the log could not grow.
        ErrorCode::SystemIoFailure if sqlite.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            (ErrorKind::Refused, "the disk is full")
        }
        ErrorCode::ReadOnly => (ErrorKind::Refused, "the file or its directory is read-only"),
        ErrorCode::PermissionDenied => (ErrorKind::Refused, "the permission is missing"),
        ErrorCode::CannotOpen => (ErrorKind::Refused, "the file cannot be opened or created there"),
        ErrorCode::NotADatabase => (ErrorKind::Refused, "it is not an SQLite file"),
        ErrorCode::TooBig => (ErrorKind::Invalid, "it is larger than SQLite allows"),
        ErrorCode::SystemIoFailure => (ErrorKind::Unavailable, "the disk failed"),
        ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "memory ran out"),
        ErrorCode::OperationInterrupted => (ErrorKind::Unavailable, "it was interrupted"),
        ErrorCode::DatabaseCorrupt => (ErrorKind::Corrupt, "the file is damaged"),
        _ => (ErrorKind::Corrupt, "the tables are not as they were made"),
    }
}
