//! A private ferrokinesis.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::ServerError;
use crate::http::answers;
use crate::installed::installed;
use crate::process::{Process, Program, run_blocking};
use crate::stream_names::StreamNames;

/// Settings of a ferrokinesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FerrokinesisSettings {
    /// True if streams and records survive a restart, so that the server can be killed and started again. They are
    /// then in files, in `/dev/shm` if the machine has one. Default: false.
    pub kept: bool,
    /// Lifetime of a shard iterator, in whole seconds, from one second to one day. Default: 300 s.
    pub iterator_life: Duration,
    /// True if a shard accepts at most 1 MiB and 1,000 records per second, and refuses the excess. Default: false.
    pub limited: bool,
}

impl Default for FerrokinesisSettings {
    fn default() -> Self {
        Self { kept: false, iterator_life: Duration::from_secs(300), limited: false }
    }
}

/// A ferrokinesis of this process: an implementation of Kinesis Data Streams that is independent of AWS's own. It ends, and
/// its data is removed, on drop or with this process.
///
/// Signatures are not checked. All access keys share all streams, so a test separates its streams by
/// [name](Self::stream_name). It is the faster of the two implementations. It differs from AWS as follows:
///
/// - If several requests write to one shard concurrently, a later record may be visible before an earlier one. A reader that
///   continues after the later record never sees the earlier one. A reader that starts again sees both.
/// - `MillisBehindLatest` is always 0, and the last answer about a closed shard names no child shards.
/// - Reads are never refused.
///
/// It always listens on all interfaces.
pub struct Ferrokinesis {
    process: Process<Binary>,
    names: StreamNames,
}

impl Ferrokinesis {
    /// Starts a server with [`FerrokinesisSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(FerrokinesisSettings::default()).await
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] if it is not installed, [`ServerError::Failed`] if it does not answer within ten
    /// minutes, and [`ServerError::Machine`] if no folder, port or process is available.
    pub async fn start_with(settings: FerrokinesisSettings) -> Result<Self, ServerError> {
        let mut process = run_blocking(move || Binary::prepare(settings)).await?;
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

    /// Returns the folder of its data, if the data is [kept](FerrokinesisSettings::kept).
    pub fn data_folder(&self) -> PathBuf {
        data(self.process.folder())
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

    /// Stops it in an orderly way. It can be [started again](Self::restart).
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

    /// Starts it again on the same port, with the same data if it is [kept](FerrokinesisSettings::kept), otherwise
    /// without data. Stops it first if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }
}

/// The program, and how it runs.
struct Binary {
    settings: FerrokinesisSettings,
    program: PathBuf,
}

impl Binary {
    fn prepare(settings: FerrokinesisSettings) -> Result<Process<Self>, ServerError> {
        let program = "bin/ferrokinesis";
        let program = installed(Self::NAME, "ferrokinesis", program)?.join(program);
        let memory = Path::new("/dev/shm");
        // On a disk, each write would wait for a sync.
        let parent = if settings.kept && memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        Process::new(Self { settings, program }, &parent)
    }
}

impl Program for Binary {
    const NAME: &'static str = "ferrokinesis";

    const STOP: Signal = Signal::TERM;

    const END: &'static str = "KILL";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(folder).env("FERROKINESIS_PORT", port.to_string());
        for change in ["CREATE", "DELETE", "UPDATE"] {
            command.env(format!("FERROKINESIS_{change}_STREAM_MS"), "5");
        }
        let life = self.settings.iterator_life.as_secs().to_string();
        command.env("FERROKINESIS_ITERATOR_TTL_SECONDS", life).env("FERROKINESIS_SHARD_LIMIT", "100000");
        command.env("FERROKINESIS_ENFORCE_LIMITS", self.settings.limited.to_string());
        command.env("FERROKINESIS_LOG_LEVEL", "warn");
        // Some of its locks block a thread. With one thread per core, the writers and readers of one shard would block all.
        command.env("TOKIO_WORKER_THREADS", "64");
        if self.settings.kept {
            command.env("FERROKINESIS_STATE_DIR", data(folder));
        }
        command
    }

    async fn is_ready(&self, server: u32, _: &Path, port: u16) -> bool {
        answers(server, port).await
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}
