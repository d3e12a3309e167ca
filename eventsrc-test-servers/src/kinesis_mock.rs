//! A private kinesis-mock.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::error::ServerError;
use crate::http::answers;
use crate::installed::{in_path, installed};
use crate::process::{Process, Program, on_a_thread};
use crate::stream_names::StreamNames;

/// A kinesis-mock of this process, which has Kinesis Data Streams, written apart from AWS's own and from
/// [`Ferrokinesis`](crate::Ferrokinesis): gone with its data on drop or with this process.
///
/// Signatures are not looked at, and all access keys but those of twelve digits share all streams, so a stream is told from
/// others by its [name](Self::stream_name). It is the thorough one: it tells `MillisBehindLatest`, and the last answer about a
/// closed shard names the shards that follow. The more it holds, the slower it is: give a stream no more than 2,000
/// records, and a request no more than 100. It listens on all interfaces, and cannot be told to do otherwise.
pub struct KinesisMock {
    process: Process<Script>,
    names: StreamNames,
}

impl KinesisMock {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] and [`ServerError::Missing`] where it or its Node is not installed,
    /// [`ServerError::Failed`] if it does not answer within ten minutes, and [`ServerError::Machine`] if there is no
    /// folder, port or process to be had.
    pub async fn start() -> Result<Self, ServerError> {
        let mut process = on_a_thread(Script::prepare).await?;
        process.start().await?;
        Ok(Self { process, names: StreamNames::default() })
    }

    /// Where it is, as an AWS SDK is told: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// The port that it listens on, for as long as it is there.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// A name for a stream that begins with `prefix`, and that no other caller has.
    ///
    /// # Panics
    ///
    /// If no stream could be called that, of at most 100 letters, digits, underscores, full stops and hyphens.
    pub fn stream_name(&self, prefix: &str) -> String {
        self.names.next(prefix)
    }

    /// Stops it, as [`kill`](Self::kill) does. It can be [started again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.process.stop().await
    }

    /// Kills it with SIGKILL, in the middle of whatever it does. It can be [started again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.process.kill().await
    }

    /// Starts it again on the same port, without any data; stops it before if it runs.
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

    /// It has nothing to put in order, and would wait until no client keeps a connection to it.
    const STOP: Signal = Signal::KILL;

    const END: &'static str = "KILL";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.installed.join(MAIN)).current_dir(folder);
        // It has a second port, for TLS, which nobody uses: any will do.
        command.env("KINESIS_MOCK_PLAIN_PORT", port.to_string()).env("KINESIS_MOCK_TLS_PORT", "0");
        command.env("KINESIS_MOCK_CERT_PATH", self.installed.join("server.json"));
        for change in CHANGES {
            command.env(format!("{change}_DURATION"), "20ms");
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

/// What would take half a second each.
const CHANGES: [&str; 8] = [
    "CREATE_STREAM",
    "DELETE_STREAM",
    "SPLIT_SHARD",
    "MERGE_SHARDS",
    "UPDATE_SHARD_COUNT",
    "UPDATE_STREAM_MODE",
    "REGISTER_STREAM_CONSUMER",
    "DEREGISTER_STREAM_CONSUMER",
];
