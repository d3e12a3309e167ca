//! What Postgres says, told as what the caller does next.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// An error of Postgres or of the way there. It can be cloned, because all commits of a group share one.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    source: Option<Arc<Error>>,
    lost: bool,
}

impl Failure {
    /// The failure of `doing` something, a clause such as "cannot store the commit".
    pub(crate) fn new(doing: &str, error: Error) -> Self {
        let (kind, why) = judge(&error);
        Self { kind, what: format!("{doing}: {why}"), lost: is_lost(&error), source: Some(Arc::new(error)) }
    }

    /// The failure to get a connection to the server called `server`.
    pub(crate) fn to_connect(server: &str, error: PoolError) -> Self {
        let doing = format!("cannot connect to {server}");
        let why = match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                let (kind, why) = judge_connecting(&error);
                let (what, source) = (format!("{doing}: {why}"), Some(Arc::new(error)));
                return Self { kind, what, source, lost: true };
            }
            PoolError::Timeout(TimeoutType::Wait) => "all connections are in use",
            PoolError::Timeout(_) => "it does not answer in time",
            _ => "the pool of connections is closed",
        };
        Self { kind: ErrorKind::Unavailable, what: format!("{doing}: {why}"), source: None, lost: true }
    }

    /// A failure that passes, without a cause that could be told.
    pub(crate) fn unavailable(what: &str) -> Self {
        Self { kind: ErrorKind::Unavailable, what: what.into(), source: None, lost: false }
    }

    /// Whether the connection broke, so that nobody knows what the statement came to. Otherwise it had no effect.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether what was sent is at fault, so that the rest of a group may well be stored without it.
    pub(crate) fn blames_what_was_sent(&self) -> bool {
        !self.lost && matches!(self.kind, ErrorKind::Invalid | ErrorKind::Corrupt)
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

/// Whether the connection is gone, or going.
fn is_lost(error: &Error) -> bool {
    match error.code() {
        Some(code) => code.code().starts_with("08") || is_shutdown(code),
        None => error.is_closed() || is_io(error),
    }
}

fn is_shutdown(code: &SqlState) -> bool {
    [&SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN, &SqlState::CANNOT_CONNECT_NOW].contains(&code)
}

/// Whether the network failed; a message that cannot be encoded or decoded comes as such an error too.
fn is_io(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| !matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// What to do about an error of a statement, and why.
pub(crate) fn judge(error: &Error) -> (ErrorKind, &'static str) {
    if let Some(code) = error.code() {
        return judge_state(code);
    }
    if is_lost(error) {
        return (ErrorKind::Unavailable, "the connection broke");
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if io.kind() == io::ErrorKind::InvalidInput => {
            (ErrorKind::Invalid, "it is larger than Postgres allows")
        }
        _ => (ErrorKind::Corrupt, "what is stored is not what was written"),
    }
}

/// What to do about an error of connecting, and why.
fn judge_connecting(error: &Error) -> (ErrorKind, &'static str) {
    if let Some(code) = error.code() {
        return judge_state(code);
    }
    let tls = error.source().and_then(|source| source.downcast_ref::<io::Error>()?.get_ref());
    if tls.is_some_and(|source| source.is::<rustls::Error>()) {
        return (ErrorKind::Refused, "its certificate is not one to trust");
    }
    if error.is_closed() || is_io(error) {
        return (ErrorKind::Unavailable, "there is no answer");
    }
    (ErrorKind::Refused, "the server and the settings do not agree on how")
}

/// The classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn judge_state(state: &SqlState) -> (ErrorKind, &'static str) {
    use ErrorKind::{Corrupt, Invalid, Refused, Unavailable};
    let code = state.code();
    match code {
        "22021" => (Invalid, "there is a character in it that Postgres cannot hold"),
        "25P03" => (Unavailable, "a transaction was left idle for too long"),
        "25006" => (Refused, "the server is read-only"),
        "42501" => (Refused, "the permission is missing"),
        "42P07" | "42P06" => (Refused, "something else of that name is there already"),
        "53100" => (Refused, "the disk of the server is full"),
        "53200" => (Unavailable, "the memory of the server ran out"),
        "53300" => (Unavailable, "the server has too many connections"),
        "53400" => (Refused, "a limit of the server is reached"),
        "55000" => (Refused, "the server is not set up for it"),
        "57014" => (Unavailable, "it took too long, or somebody cancelled it"),
        "57P04" => (Refused, "the database was dropped"),
        _ => match &code[..2] {
            "08" => (Unavailable, "the connection broke"),
            "22" => (Invalid, "Postgres cannot hold such a value"),
            "23" => (Invalid, "a constraint forbids it"),
            "28" => (Refused, "the user or the password is not accepted"),
            "3D" => (Refused, "there is no such database"),
            "3F" => (Refused, "there is no such schema"),
            "40" => (Unavailable, "another transaction was in the way"),
            "53" => (Unavailable, "the server is short of resources"),
            "54" => (Invalid, "it is larger than Postgres allows"),
            "55" => (Unavailable, "something in the server is in use"),
            "57" => (Unavailable, "the server is stopping or starting"),
            "58" => (Unavailable, "the disk of the server failed"),
            "72" => (Unavailable, "the server cannot look back that far"),
            "P0" => (Invalid, "a trigger forbids it"),
            "XX" => (Corrupt, "the server found its data damaged"),
            "42" => (Refused, "the tables are not as they were made"),
            _ => (Refused, "the server refuses it"),
        },
    }
}
