//! Classification of errors of SQLite by what the caller does next.

use std::error::Error;
use std::sync::Arc;

use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::{ErrorCode, ffi};

/// A failed call, mostly because of an error of SQLite. It can be cloned, because all jobs of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure caused by SQLite. `doing` is a clause such as "cannot store the commit".
    pub(crate) fn new(doing: &str, error: rusqlite::Error) -> Self {
        let (kind, why) = classify(&error);
        Self { kind, what: format!("{doing}: {why}"), source: Some(Arc::new(error)) }
    }

    /// A failure without an error of SQLite.
    pub(crate) fn plain(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Sets the cause.
    pub(crate) fn because(self, error: ViewError) -> Self {
        Self { source: Some(Arc::from(error)), ..self }
    }

    /// Failure of a view's code or of a query that comes from the file, the disk or the machine, and may be transient. Any
    /// other `error` is the code's own, and is returned as `Err`.
    pub(crate) fn from_user_code(doing: &str, error: ViewError) -> Result<Self, ViewError> {
        match environmental_cause(&*error) {
            Some((kind, why)) => Ok(Self::plain(kind, format!("{doing}: {why}")).because(error)),
            None => Err(error),
        }
    }

    /// The cause, if it is a violated constraint.
    pub(crate) fn constraint_violation(&self) -> Option<ViewError> {
        let source = self.source.as_ref()?;
        let error = source.downcast_ref::<rusqlite::Error>()?;
        is_constraint_violation(error).then(|| Arc::clone(source).into())
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.kind, failure.what);
        match failure.source {
            Some(source) => error.because(source),
            None => error,
        }
    }
}

/// Failure of a call whose thread has ended.
pub(crate) fn stopped() -> Failure {
    Failure::plain(ErrorKind::Unavailable, "the thread of the database has stopped")
}

/// True if rows violate a constraint of the database.
pub(crate) fn is_constraint_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// True if another connection holds a lock that this one needs.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Kind and description of an error that comes from the file, the disk or the machine, found in the error or its causes.
fn environmental_cause(error: &(dyn Error + 'static)) -> Option<(ErrorKind, &'static str)> {
    if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
        return environment(error);
    }
    if let Some(error) = error.downcast_ref::<StorageError>() {
        let is_outside = error.kind().is_transient() || error.kind() == ErrorKind::Refused;
        return is_outside.then_some((error.kind(), "its code returned a storage error"));
    }
    environmental_cause(error.source()?)
}

fn classify(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    environment(error).unwrap_or_else(|| match error.sqlite_error_code() {
        None => (ErrorKind::Corrupt, "a stored value has an unexpected type or range"),
        Some(ErrorCode::TooBig) => (ErrorKind::Invalid, "it is larger than SQLite allows"),
        Some(_) => (ErrorKind::Corrupt, "the tables differ from those that this library creates"),
    })
}

/// Kind and description of an error that comes from the file, the disk or the machine.
fn environment(error: &rusqlite::Error) -> Option<(ErrorKind, &'static str)> {
    let sqlite = error.sqlite_error()?;
    Some(match sqlite.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            (ErrorKind::Unavailable, "the file is in use by another program")
        }
        ErrorCode::DiskFull => (ErrorKind::Refused, "the disk is full, or the file has its largest size"),
        // The shared-memory index of the log could not grow.
        ErrorCode::SystemIoFailure if sqlite.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            (ErrorKind::Refused, "the disk is full")
        }
        ErrorCode::ReadOnly => (ErrorKind::Refused, "the file or its directory is read-only"),
        ErrorCode::PermissionDenied => (ErrorKind::Refused, "the operating system denies access"),
        ErrorCode::CannotOpen => (ErrorKind::Refused, "the file cannot be opened or created there"),
        ErrorCode::NotADatabase => (ErrorKind::Refused, "it is not an SQLite file"),
        ErrorCode::SystemIoFailure => (ErrorKind::Unavailable, "the disk failed"),
        ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "memory ran out"),
        ErrorCode::OperationInterrupted => (ErrorKind::Unavailable, "the statement was interrupted"),
        ErrorCode::DatabaseCorrupt => (ErrorKind::Corrupt, "the file is damaged"),
        _ => return None,
    })
}
