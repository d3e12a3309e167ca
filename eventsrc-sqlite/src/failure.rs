//! What SQLite says, told as what the caller does next.

use std::error::Error;
use std::sync::Arc;

use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::{ErrorCode, ffi};

/// Why something cannot be done, mostly an error of SQLite. It can be cloned, because all commits of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// The failure of `doing` something, a clause such as "cannot store the commit".
    pub(crate) fn new(doing: &str, error: rusqlite::Error) -> Self {
        let (kind, why) = judge(&error);
        Self { kind, what: format!("{doing}: {why}"), source: Some(Arc::new(error)) }
    }

    /// A failure that is not SQLite's.
    pub(crate) fn plain(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// The same failure, with its cause.
    pub(crate) fn because(self, error: ViewError) -> Self {
        Self { source: Some(Arc::from(error)), ..self }
    }

    /// The failure of a user's code where it comes from the file, the disk or the machine, and may go well another time;
    /// otherwise `error` is the code's own, and given back.
    pub(crate) fn of_code(doing: &str, error: ViewError) -> Result<Self, ViewError> {
        match environmental_cause(&*error) {
            Some((kind, why)) => Ok(Self::plain(kind, format!("{doing}: {why}")).because(error)),
            None => Err(error),
        }
    }

    /// The cause, if it is that rows break a rule of the database.
    pub(crate) fn broken_rule(&self) -> Option<ViewError> {
        let source = self.source.as_ref()?;
        let error = source.downcast_ref::<rusqlite::Error>()?;
        is_broken_rule(error).then(|| Arc::clone(source).into())
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

/// Whether rows break a rule of the database.
pub(crate) fn is_broken_rule(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// What an error and its causes say of the file, the disk or the machine, if that is where they come from.
fn environmental_cause(error: &(dyn Error + 'static)) -> Option<(ErrorKind, &'static str)> {
    if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
        return environment(error);
    }
    if let Some(error) = error.downcast_ref::<StorageError>() {
        let is_outside = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Refused);
        return is_outside.then_some((error.kind(), "its code could not go on"));
    }
    environmental_cause(error.source()?)
}

/// Whether another connection holds a lock that this one waits for.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn judge(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    environment(error).unwrap_or_else(|| match error.sqlite_error_code() {
        None => (ErrorKind::Corrupt, "what is stored is not what was written"),
        Some(ErrorCode::TooBig) => (ErrorKind::Invalid, "it is larger than SQLite allows"),
        Some(_) => (ErrorKind::Corrupt, "the tables are not as they were made"),
    })
}

fn environment(error: &rusqlite::Error) -> Option<(ErrorKind, &'static str)> {
    let sqlite = error.sqlite_error()?;
    Some(match sqlite.code {
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
        ErrorCode::SystemIoFailure => (ErrorKind::Unavailable, "the disk failed"),
        ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "memory ran out"),
        ErrorCode::OperationInterrupted => (ErrorKind::Unavailable, "it was interrupted"),
        ErrorCode::DatabaseCorrupt => (ErrorKind::Corrupt, "the file is damaged"),
        _ => return None,
    })
}
