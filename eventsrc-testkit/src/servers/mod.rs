//! Real servers for tests, private to the process that starts them.
//!
//! A server runs from its installed program, on a free port of this machine, with a new folder for its data, and ends with
//! the process that started it, however that process ends. Nothing is mocked and nothing is skipped: a program that is
//! not installed is an error that says how to install it.
//!
//! Postgres, Java and Node are packages of Debian. DynamoDB Local, ministack, ferrokinesis and kinesis-mock are installed by
//! `scripts/servers` of this project, into its `target/servers`, or into the folder that the environment variable
//! `EVENTSRC_SERVERS` names; tests outside this workspace look there if it is set.

mod dynamo;
mod guarded_folder;
mod http;
mod installed;
mod kinesis;
mod kinesis_mock;
mod ministack;
mod port;
mod postgres;
mod process;
mod programs;
mod stream_names;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

pub use dynamo::{DynamoLocal, DynamoLocalSettings};
pub use kinesis::{Ferrokinesis, FerrokinesisSettings};
pub use kinesis_mock::KinesisMock;
pub use ministack::Ministack;
pub(crate) use port::listen;
pub use postgres::{Postgres, PostgresSettings};
use tokio::sync::OnceCell;

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
    fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}

/// The Postgres that all tests of this process share; the first caller starts it.
///
/// It holds nothing dear: it has [`PostgresSettings::default`], and whoever stops it stops it for all, so tests that
/// crash a server start [their own](Postgres::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Postgres::start().await)).await
}

/// The DynamoDB Local that all tests of this process share, each with an [access key](DynamoLocal::access_key) of its
/// own; the first caller starts it.
///
/// It keeps everything in memory. Tests that stop or kill a server start [their own](DynamoLocal::start_with).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn dynamo() -> &'static DynamoLocal {
    static SHARED: OnceCell<DynamoLocal> = OnceCell::const_new();
    SHARED.get_or_init(async || started(DynamoLocal::start().await)).await
}

/// The ministack that all tests of this process share, each with an [access key](Ministack::access_key) of its own; the
/// first caller starts it.
///
/// Tests that stop or kill a server start [their own](Ministack::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn ministack() -> &'static Ministack {
    static SHARED: OnceCell<Ministack> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ministack::start().await)).await
}

/// The ferrokinesis that all tests of this process share, each with [streams](Ferrokinesis::stream_name) of its own; the
/// first caller starts it.
///
/// It keeps everything in memory. Tests that stop or kill a server, or that need iterators with a short life or shards
/// with limits, start [their own](Ferrokinesis::start_with).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn kinesis() -> &'static Ferrokinesis {
    static SHARED: OnceCell<Ferrokinesis> = OnceCell::const_new();
    SHARED.get_or_init(async || started(Ferrokinesis::start().await)).await
}

/// The kinesis-mock that all tests of this process share, each with [streams](KinesisMock::stream_name) of its own; the
/// first caller starts it.
///
/// Tests that stop or kill a server start [their own](KinesisMock::start).
///
/// # Panics
///
/// If it cannot be started, with the reason.
pub async fn kinesis_mock() -> &'static KinesisMock {
    static SHARED: OnceCell<KinesisMock> = OnceCell::const_new();
    SHARED.get_or_init(async || started(KinesisMock::start().await)).await
}

/// The Python that can import `aws_kinesis_agg`, an implementation of aggregated Kinesis records that is not ours.
///
/// # Panics
///
/// If it is not installed, with the reason.
pub fn kinesis_agg() -> PathBuf {
    let python = "bin/python";
    started(installed::installed("aws-kinesis-agg", "kinesis-agg", python)).join(python)
}

/// The Java that runs programs of one source file, and the class path that has the Kinesis Client Library, which is AWS's own and
/// keeps leases in DynamoDB.
///
/// # Panics
///
/// If they are not installed, with the reason.
pub fn kinesis_client_library() -> (PathBuf, OsString) {
    let java = started(installed::in_path("java", "default-jre-headless"));
    let library = "amazon-kinesis-client-3.1.3.jar";
    let folder =
        started(installed::installed("the Kinesis Client Library", "kinesis-client-library", library));
    (java, folder.join("*").into_os_string())
}

fn started<S>(server: Result<S, ServerError>) -> S {
    server.unwrap_or_else(|error| panic!("a test needs a server: {error} ({error:?})"))
}
