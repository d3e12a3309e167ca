//! A private Postgres.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use tokio_postgres::NoTls;

use crate::error::ServerError;
use crate::process::{Process, Program, run_blocking};
use crate::programs::Programs;

/// Settings of a Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// True if a commit is synced to disk before it is answered. Otherwise a commit survives a crash of the server
    /// but not of the machine, and tests run much faster. Default: false.
    pub durable: bool,
    /// Largest number of concurrent connections. Default: 200.
    pub max_connections: u16,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { durable: false, max_connections: 200 }
    }
}

/// A Postgres server of this process. It runs from the installed programs, and its superuser connects without a
/// password. It ends, and its data is removed, on drop or with this process.
pub struct Postgres {
    process: Process<Cluster>,
    databases: AtomicU64,
}

impl Postgres {
    /// Starts a server with [`PostgresSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(PostgresSettings::default()).await
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Missing`] if Postgres is not installed, [`ServerError::Failed`] if it does not answer within
    /// ten minutes, and [`ServerError::Machine`] if no folder, port or process is available.
    pub async fn start_with(settings: PostgresSettings) -> Result<Self, ServerError> {
        let mut process = run_blocking(move || Cluster::prepare(settings)).await?;
        process.start().await?;
        Ok(Self { process, databases: AtomicU64::default() })
    }

    /// Returns the URL of its database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Returns the port on which it listens, at 127.0.0.1. The port does not change until the value is dropped.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Returns the folder of its data and its configuration.
    pub fn data_folder(&self) -> PathBuf {
        data(self.process.folder())
    }

    /// Creates an empty database and returns its URL. The name of the database begins with `name` and is unique.
    ///
    /// # Panics
    ///
    /// If `name` does not consist of lower-case letters, digits and underscores, or if the server is not reachable.
    pub async fn database(&self, name: &str) -> String {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            name.chars().all(is_plain),
            "the database name {name:?} must consist of lower-case letters, digits and underscores"
        );
        let name = format!("{name}_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // `template1`, the default, cannot be copied while a client is connected to it.
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await
            .unwrap_or_else(|error| panic!("cannot create the database {name}: {error:?}"));
        self.url_of(&name)
    }

    /// Stops it in an orderly way: clients are disconnected, and all data is written to its files. It can be [started
    /// again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.process.stop().await
    }

    /// Kills it and its child processes with SIGKILL. It can be [started again](Self::restart), and then recovers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within ten minutes.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.process.kill().await
    }

    /// Starts it again with the same data on the same port, after a stop or a kill. Stops it first if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }

    async fn execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        let connection = tokio::spawn(connection);
        let done = client.batch_execute(sql).await;
        connection.abort();
        done
    }
}

/// The databases of one server.
struct Cluster {
    settings: PostgresSettings,
    programs: Programs,
}

impl Cluster {
    /// Creates a new cluster.
    fn prepare(settings: PostgresSettings) -> Result<Process<Self>, ServerError> {
        let cluster = Self { settings, programs: Programs::find()? };
        let process = Process::new(cluster, &env::temp_dir())?;
        let mut initdb = process.program().programs.command("initdb");
        initdb.arg("-D").arg(data(process.folder())).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        let output = initdb.args(["--no-locale", "--no-sync"]).stdin(Stdio::null()).output();
        let output = output.map_err(ServerError::machine("run initdb"))?;
        if output.status.success() {
            return Ok(process);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ServerError::Failed { what: format!("initdb ended with {}", output.status), said })
    }
}

impl Program for Cluster {
    const NAME: &'static str = "Postgres";

    const STOP: Signal = Signal::INT;

    /// Immediate shutdown, which leaves nothing behind in the shared memory of the system.
    const END: &'static str = "QUIT";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(data(folder)).arg("-p").arg(port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.arg("-c").arg(format!("max_connections={}", self.settings.max_connections));
        if !self.settings.durable {
            // `synchronous_commit` stays on. Without it, a killed server loses commits that it has acknowledged.
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command
    }

    /// Reads the status from the file in which the server records it, next to its process id.
    async fn is_ready(&self, server: u32, folder: &Path, _: u16) -> bool {
        let status = fs::read_to_string(data(folder).join("postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines().map(str::trim);
        lines.next() == Some(server.to_string().as_str()) && lines.nth(6) == Some("ready")
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}
