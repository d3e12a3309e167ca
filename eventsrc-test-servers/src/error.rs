//! Errors of servers that do not run.

use std::io;
use std::path::PathBuf;

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its program is not installed.
    #[error(
        "{program} is not installed: install the Debian package `{package}`, or put its folder into PATH"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// It is not installed, and no Debian package has it.
    #[error(
        "{server} is not installed in {folder}: run `scripts/servers` of eventsrc, or name in EVENTSRC_SERVERS the folder \
         into which it has installed servers"
    )]
    NotInstalled {
        /// The server.
        server: &'static str,
        /// Where it should be.
        folder: PathBuf,
    },
    /// The program ended, or did not do its work in time.
    #[error("{what}; it said: {said}")]
    Failed {
        /// What was to be done.
        what: String,
        /// The last of what the program said.
        said: String,
    },
    /// The machine did not let it be started.
    #[error("cannot {what}")]
    Machine {
        /// What was to be done.
        what: String,
        /// Why it could not.
        source: io::Error,
    },
}

impl ServerError {
    pub(crate) fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}
