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
use crate::process::{Process, Program, on_a_thread};
use crate::stream_names::StreamNames;

/// How a ferrokinesis is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FerrokinesisSettings {
    /// Whether streams and records outlive the server, so that it can be killed and started again. They are then in
    /// files, which lie in the machine's memory where it has a `/dev/shm`.
    pub kept: bool,
    /// How long a shard iterator can be used, in whole seconds; no less than one, and no more than a day.
    pub iterator_life: Duration,
    /// Whether a shard takes no more than 1 MiB and 1,000 records a second, and refuses what is beyond that.
    pub limited: bool,
}

impl Default for FerrokinesisSettings {
    fn default() -> Self {
        Self { kept: false, iterator_life: Duration::from_secs(300), limited: false }
    }
}

/// A ferrokinesis of this process, which has Kinesis Data Streams, written apart from AWS's own: gone with its data on drop
/// or with this process.
///
/// Signatures are not looked at, and all access keys share all streams, so a stream is told from others by its
/// [name](Self::stream_name). It is the quick one. What it does otherwise than AWS:
///
/// - Of several requests that write to one shard at once, a later record may be read before an earlier one is there. Whoever
///   goes on after the later one never sees the earlier one; whoever starts anew sees both.
/// - `MillisBehindLatest` is always 0, and the last answer about a closed shard names no child shards.
/// - Reads are never refused.
///
/// It listens on all interfaces, and cannot be told to do otherwise.
pub struct Ferrokinesis {
    process: Process<Binary>,
    names: StreamNames,
}

impl Ferrokinesis {
    /// Starts one with [`FerrokinesisSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(FerrokinesisSettings::default()).await
    }

    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] where it is not installed, [`ServerError::Failed`] if it does not answer within ten
    /// minutes, and [`ServerError::Machine`] if there is no folder, port or process to be had.
    pub async fn start_with(settings: FerrokinesisSettings) -> Result<Self, ServerError> {
        let mut process = on_a_thread(move || Binary::prepare(settings)).await?;
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

    /// The folder of its data, if that is [kept](FerrokinesisSettings::kept).
    pub fn data_folder(&self) -> PathBuf {
        data(self.process.folder())
    }

    /// A name for a stream that begins with `prefix`, and that no other caller has.
    ///
    /// # Panics
    ///
    /// If no stream could be called that, of at most 100 letters, digits, underscores, full stops and hyphens.
    pub fn stream_name(&self, prefix: &str) -> String {
        self.names.next(prefix)
    }

    /// Stops it in good order. It can be [started again](Self::restart).
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

    /// Starts it again on the same port, with the same data if that is [kept](FerrokinesisSettings::kept), and otherwise
    /// without any; stops it before if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }
}

/// The program, and how it is run.
struct Binary {
    settings: FerrokinesisSettings,
    program: PathBuf,
}

impl Binary {
    fn prepare(settings: FerrokinesisSettings) -> Result<Process<Self>, ServerError> {
        let program = "bin/ferrokinesis";
        let program = installed(Self::NAME, "ferrokinesis", program)?.join(program);
        let memory = Path::new("/dev/shm");
        // On a disk, each write would wait for it.
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
        // Some of its locks hold up a thread, and with a thread a core, writers and readers of one shard hold up all.
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
