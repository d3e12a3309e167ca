//! Errors of servers that cannot run.

use std::io;
use std::path::PathBuf;

/// The reason why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error(
        "{program} is not installed: install the Debian package `{package}`, or put its folder into PATH"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// A server is not installed, and no Debian package contains it.
    #[error(
        "{server} is not installed in {folder}: run `scripts/servers` of eventsrc, or set EVENTSRC_SERVERS to the folder in \
         which it has installed servers"
    )]
    NotInstalled {
        /// The server.
        server: &'static str,
        /// The folder in which it is expected.
        folder: PathBuf,
    },
    /// The program ended, or did not do its work in time.
    #[error("{what}; its last output: {said}")]
    Failed {
        /// The action that failed.
        what: String,
        /// The last lines of the program's output.
        said: String,
    },
    /// The operating system refused an action.
    #[error("cannot {what}")]
    Machine {
        /// The action that failed.
        what: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl ServerError {
    pub(crate) fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}
