//! A private kinesis-mock.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::error::ServerError;
use crate::http::answers;
use crate::installed::{in_path, installed};
use crate::process::{Process, Program, run_blocking};
use crate::stream_names::StreamNames;

/// A kinesis-mock of this process: an implementation of Kinesis Data Streams that is independent of AWS's own and of
/// [`Ferrokinesis`](crate::Ferrokinesis). It ends, and its data is removed, on drop or with this process.
///
/// Signatures are not checked. All access keys except those of twelve digits share all streams, so a test separates its
/// streams by [name](Self::stream_name). It is the more complete of the two: it reports `MillisBehindLatest`, and the last
/// answer about a closed shard names its child shards. It slows down with the amount of data, so limit a stream to 2,000
/// records and a request to 100. It always listens on all interfaces.
pub struct KinesisMock {
    process: Process<Script>,
    names: StreamNames,
}

impl KinesisMock {
    /// Starts a kinesis-mock, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] and [`ServerError::Missing`] if it or its Node is not installed,
    /// [`ServerError::Failed`] if it does not answer within ten minutes, and [`ServerError::Machine`] if no folder,
    /// port or process is available.
    pub async fn start() -> Result<Self, ServerError> {
        let mut process = run_blocking(Script::prepare).await?;
        process.start().await?;
        Ok(Self { process, names: StreamNames::default() })
    }

    /// Returns the endpoint for an AWS SDK: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the address at which clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Returns the port on which it listens. The port does not change until the value is dropped.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Returns a name for a stream that begins with `prefix` and that no other caller gets.
    ///
    /// # Panics
    ///
    /// If `prefix` is longer than 100 characters, or contains anything but letters, digits, underscores, full stops
    /// and hyphens.
    pub fn stream_name(&self, prefix: &str) -> String {
        self.names.next(prefix)
    }

    /// Stops it like [`kill`](Self::kill). It can be [started again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.process.stop().await
    }

    /// Kills it with SIGKILL. It can be [started again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.process.kill().await
    }

    /// Starts it again on the same port, without data. Stops it first if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }
}

/// The program, and the Node that runs it.
struct Script {
    node: PathBuf,
    installed: PathBuf,
}

impl Script {
    fn prepare() -> Result<Process<Self>, ServerError> {
        let installed = installed(Self::NAME, "kinesis-mock", MAIN)?;
        let node = in_path("node", "nodejs")?;
        Process::new(Self { node, installed }, &env::temp_dir())
    }
}

impl Program for Script {
    const NAME: &'static str = "kinesis-mock";

    /// SIGKILL, because an orderly shutdown would wait until all clients have disconnected, and there is no data to
    /// save.
    const STOP: Signal = Signal::KILL;

    const END: &'static str = "KILL";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.installed.join(MAIN)).current_dir(folder);
        // The second port, for TLS, is unused. Port 0 selects any free port.
        command.env("KINESIS_MOCK_PLAIN_PORT", port.to_string()).env("KINESIS_MOCK_TLS_PORT", "0");
        command.env("KINESIS_MOCK_CERT_PATH", self.installed.join("server.json"));
        for operation in SLOW_OPERATIONS {
            command.env(format!("{operation}_DURATION"), "20ms");
        }
        command.env("SHARD_LIMIT", "100000").env("ON_DEMAND_STREAM_COUNT_LIMIT", "100000");
        command.env("LOG_LEVEL", "ERROR");
        command
    }

    async fn is_ready(&self, server: u32, _: &Path, port: u16) -> bool {
        answers(server, port).await
    }
}

const MAIN: &str = "main.js";

/// Operations that take half a second each by default.
const SLOW_OPERATIONS: [&str; 8] = [
    "CREATE_STREAM",
    "DELETE_STREAM",
    "SPLIT_SHARD",
    "MERGE_SHARDS",
    "UPDATE_SHARD_COUNT",
    "UPDATE_STREAM_MODE",
    "REGISTER_STREAM_CONSUMER",
    "DEREGISTER_STREAM_CONSUMER",
];
