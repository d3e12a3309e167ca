//! Errors of Postgres and of connections to it, classified by what the caller does next.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::silence::Silence;

/// Reason why a stored row does not have the format in which it was written.
pub(crate) type Unreadable = Box<dyn StdError + Send + Sync>;

/// Error of Postgres or of a connection to it. Cloneable, because all commits of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<Error>>,
    connection: ConnectionState,
}

/// State of the connection after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    /// The server answered.
    Answered,
    /// The connection broke, or was not opened.
    Lost,
    /// The server did not answer in time.
    Silent,
    /// The server did not answer when the connection was opened.
    ServerAway,
}

impl Failure {
    /// Error of a statement. `context` is a clause such as "cannot store the commit".
    pub(crate) fn new(context: &str, error: Error) -> Self {
        let (kind, reason) = classify(&error);
        let connection =
            if is_connection_lost(&error) { ConnectionState::Lost } else { ConnectionState::Answered };
        Self { kind, what: format!("{context}: {reason}"), connection, source: Some(Arc::new(error)) }
    }

    /// Error of getting a connection to the server called `server`.
    pub(crate) fn to_connect(server: &str, error: PoolError) -> Self {
        let context = format!("cannot connect to {server}");
        let (reason, connection) = match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                let (kind, reason) = classify_connect_error(&error);
                // An error with a code is an answer.
                let is_away = error.code().is_none() && kind == ErrorKind::Unavailable;
                let connection = if is_away { ConnectionState::ServerAway } else { ConnectionState::Lost };
                let (what, source) = (format!("{context}: {reason}"), Some(Arc::new(error)));
                return Self { kind, what, source, connection };
            }
            PoolError::Timeout(TimeoutType::Wait) => ("all connections are in use", ConnectionState::Lost),
            PoolError::Timeout(_) | PoolError::PostCreateHook(_) => {
                ("the server did not answer in time", ConnectionState::ServerAway)
            }
            _ => ("the connection pool is closed", ConnectionState::Lost),
        };
        let what = format!("{context}: {reason}");
        Self { kind: ErrorKind::Unavailable, what, source: None, connection }
    }

    /// Error of a statement that the server did not answer in time. The outcome of the statement is unknown.
    pub(crate) fn silent(context: &str, _: Silence) -> Self {
        let what = format!("{context}: the server did not answer in time");
        Self { kind: ErrorKind::Unavailable, what, source: None, connection: ConnectionState::Silent }
    }

    /// Error of a commit that is not accepted because too many others wait. Nothing is stored.
    pub(crate) fn overloaded(what: String) -> Self {
        Self { kind: ErrorKind::Overloaded, what, source: None, connection: ConnectionState::Answered }
    }

    /// Transient error without a cause.
    pub(crate) fn unavailable(what: &str) -> Self {
        let what = what.into();
        Self { kind: ErrorKind::Unavailable, what, source: None, connection: ConnectionState::Answered }
    }

    /// True if the connection broke, so that the outcome of the statement is unknown.
    pub(crate) fn is_connection_lost(&self) -> bool {
        matches!(self.connection, ConnectionState::Lost | ConnectionState::ServerAway)
    }

    /// True if the server did not answer a statement in time.
    pub(crate) fn is_silence(&self) -> bool {
        self.connection == ConnectionState::Silent
    }

    /// True if no connection could be opened because the server did not answer.
    pub(crate) fn is_server_away(&self) -> bool {
        self.connection == ConnectionState::ServerAway
    }

    /// True if the input caused the error, so that the rest of a group may be stored without it.
    pub(crate) fn is_caused_by_input(&self) -> bool {
        self.connection == ConnectionState::Answered
            && matches!(self.kind, ErrorKind::Invalid | ErrorKind::Corrupt)
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

/// True if the connection is closed or about to be closed.
fn is_connection_lost(error: &Error) -> bool {
    match error.code() {
        Some(code) => code.code().starts_with("08") || is_shutdown(code),
        None => error.is_closed() || is_network_error(error),
    }
}

fn is_shutdown(code: &SqlState) -> bool {
    [&SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN, &SqlState::CANNOT_CONNECT_NOW].contains(&code)
}

/// True if the network failed. A message that cannot be encoded or decoded is an I/O error too, but not of the network.
fn is_network_error(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| !matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// Kind of an error of a statement, and its reason as a clause.
pub(crate) fn classify(error: &Error) -> (ErrorKind, &'static str) {
    if let Some(code) = error.code() {
        return classify_state(code);
    }
    if is_connection_lost(error) {
        return (ErrorKind::Unavailable, "the connection broke");
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if io.kind() == io::ErrorKind::InvalidInput => {
            (ErrorKind::Invalid, "a value is larger than Postgres allows")
        }
        _ => (ErrorKind::Corrupt, "a stored value does not have the expected format"),
    }
}

/// Kind of an error of opening a connection, and its reason as a clause.
fn classify_connect_error(error: &Error) -> (ErrorKind, &'static str) {
    if let Some(code) = error.code() {
        return classify_state(code);
    }
    let tls = error.source().and_then(|source| source.downcast_ref::<io::Error>()?.get_ref());
    if tls.is_some_and(|source| source.is::<rustls::Error>()) {
        return (ErrorKind::Refused, "its certificate is not trusted");
    }
    if error.is_closed() || is_network_error(error) {
        return (ErrorKind::Unavailable, "no answer from the server");
    }
    (ErrorKind::Refused, "the server and the settings do not agree on encryption or authentication")
}

/// Kind and reason of a SQLSTATE, by the classes of
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn classify_state(state: &SqlState) -> (ErrorKind, &'static str) {
    use ErrorKind::{Corrupt, Invalid, Refused, Unavailable};
    let code = state.code();
    match code {
        "22021" => (Invalid, "a text contains a character that Postgres cannot store"),
        "25P03" => (Unavailable, "the transaction was idle for too long"),
        "25006" => (Refused, "the server is read-only"),
        "42501" => (Refused, "permission denied"),
        "42P07" | "42P06" => (Refused, "a relation or schema of that name already exists"),
        "53100" => (Refused, "the disk of the server is full"),
        "53200" => (Unavailable, "the server ran out of memory"),
        "53300" => (Unavailable, "the server has too many connections"),
        "53400" => (Refused, "a configured limit of the server is reached"),
        "55000" => (Refused, "the server is not configured for it"),
        "57014" => (Unavailable, "the statement took too long or was cancelled"),
        "57P04" => (Refused, "the database was dropped"),
        _ => match &code[..2] {
            "08" => (Unavailable, "the connection broke"),
            "22" => (Invalid, "Postgres cannot hold such a value"),
            "23" => (Invalid, "a constraint is violated"),
            "28" => (Refused, "the user or the password is not accepted"),
            "3D" => (Refused, "there is no such database"),
            "3F" => (Refused, "there is no such schema"),
            "40" => (Unavailable, "another transaction conflicts with it"),
            "53" => (Unavailable, "the server is short of resources"),
            "54" => (Invalid, "a value is larger than Postgres allows"),
            "55" => (Unavailable, "a required object is in use"),
            "57" => (Unavailable, "the server is stopping or starting"),
            "58" => (Unavailable, "the disk of the server failed"),
            "72" => (Unavailable, "the snapshot of the transaction is too old"),
            "P0" => (Invalid, "a trigger rejects it"),
            "XX" => (Corrupt, "the server reports damaged data"),
            "42" => (Refused, "the tables do not match this version of eventsrc"),
            _ => (Refused, "the server refuses it"),
        },
    }
}
