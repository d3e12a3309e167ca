//! Classification of errors of SQLite by what the caller does next.

use std::error::Error;
use std::sync::Arc;

use eventsrc_core::backend::cause_of;
use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::{ErrorCode, ffi};

/// A failed call, mostly because of an error of SQLite. It can be cloned, because all jobs of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
    misses_object: bool,
}

impl Failure {
    /// A failure caused by SQLite. `doing` is a clause such as "cannot store the commit".
    pub(crate) fn new(doing: &str, error: rusqlite::Error) -> Self {
        let (kind, why) = classify(&error);
        let misses_object = names_missing_object(&error);
        Self { kind, what: format!("{doing}: {why}"), source: Some(Arc::new(error)), misses_object }
    }

    /// A failure without an error of SQLite.
    pub(crate) fn plain(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None, misses_object: false }
    }

    /// A failure because a table, or the SQL view under a public name, is missing.
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self { misses_object: true, ..Self::plain(ErrorKind::Refused, what) }
    }

    /// True if a table, a column or another object is missing.
    pub(crate) fn misses_object(&self) -> bool {
        self.misses_object
    }

    /// Sets the cause.
    pub(crate) fn because(self, error: ViewError) -> Self {
        Self { source: Some(Arc::from(error)), ..self }
    }

    /// Failure of a view's code or of a query that comes from the file, the disk or the machine, and may be transient. Any
    /// other `error` is the code's own, and is returned as `Err`.
    pub(crate) fn from_user_code(doing: &str, error: ViewError) -> Result<Self, ViewError> {
        match environmental_cause(&*error) {
            Some((kind, why)) => {
                let misses_object = why == MISSING_OBJECT;
                Ok(Self { misses_object, ..Self::plain(kind, format!("{doing}: {why}")) }.because(error))
            }
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

/// Description of an error because of a missing object.
const MISSING_OBJECT: &str = "a table, a column or another object that a statement names is missing";

/// Parts of the texts of SQLite for a statement that cannot be prepared because an object is missing: a table, an attached
/// file, a column, an index, a function, a module or a collation, a number of columns, a unique index.
const MISSING: [&str; 10] = [
    "no such table: ",
    "no such column: ",
    "no such index: ",
    "no such function: ",
    "no such module: ",
    "no such collation sequence: ",
    "has no column named ",
    " columns but ",
    "does not match any PRIMARY KEY or UNIQUE constraint",
    "foreign key mismatch - ",
];

/// True if a statement names an object that is missing. It fails for every value, so it is no error of an event.
///
/// SQLite has no code for it: the general code stands for errors that depend on values as well, so the text decides.
fn names_missing_object(error: &rusqlite::Error) -> bool {
    let (code, text) = match error {
        rusqlite::Error::SqliteFailure(error, Some(text)) => (error.code, text),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.code, msg),
        _ => return false,
    };
    code == ErrorCode::Unknown && MISSING.iter().any(|part| text.contains(part))
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
    environmental_cause(cause_of(error)?)
}

fn classify(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    environment(error).unwrap_or_else(|| match error.sqlite_error_code() {
        None => (ErrorKind::Corrupt, "a stored value has an unexpected type or range"),
        Some(ErrorCode::TooBig) => (ErrorKind::Invalid, "it is larger than SQLite allows"),
        Some(_) => (ErrorKind::Corrupt, "the tables differ from those that this library creates"),
    })
}

/// Kind and description of an error that comes from the file and its tables, the disk or the machine.
fn environment(error: &rusqlite::Error) -> Option<(ErrorKind, &'static str)> {
    if names_missing_object(error) {
        return Some((ErrorKind::Refused, MISSING_OBJECT));
    }
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
        ErrorCode::SchemaChanged => (ErrorKind::Unavailable, "tables were changed meanwhile"),
        ErrorCode::DatabaseCorrupt => (ErrorKind::Corrupt, "the file is damaged"),
        _ => return None,
    })
}
