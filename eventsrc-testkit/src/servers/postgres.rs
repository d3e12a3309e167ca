//! A private Postgres.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsrc_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::ServerError;
use super::guarded_folder::GuardedFolder;
use super::port::free_port;
use super::programs::Programs;

/// How a Postgres is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Whether a commit is on the disk before it is answered. If not, it outlives the server all the same, only not the
    /// machine, and tests are much faster.
    pub durable: bool,
    /// How many connections it takes at a time.
    pub max_connections: u16,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { durable: false, max_connections: 200 }
    }
}

/// A Postgres server of this process: started from the installed programs, reached by its superuser without a password,
/// gone with its data on drop or with this process.
pub struct Postgres {
    settings: PostgresSettings,
    programs: Programs,
    folder: GuardedFolder,
    port: u16,
    server: Option<Child>,
    databases: AtomicU64,
}

impl Postgres {
    /// Starts one with [`PostgresSettings::default`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(PostgresSettings::default()).await
    }

    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Missing`] where Postgres is not installed, [`ServerError::Failed`] if it does not answer within 30
    /// seconds, and [`ServerError::Machine`] if there is no folder, port or process to be had.
    pub async fn start_with(settings: PostgresSettings) -> Result<Self, ServerError> {
        let mut postgres = on_a_thread(move || Self::prepare(settings)).await?;
        let mut tries = 1;
        while let Err(error) = postgres.run().await {
            // Another process may have been given the same port.
            if tries == TRIES {
                return Err(error);
            }
            tries += 1;
            postgres.port = free_port().map_err(ServerError::machine("find a free port"))?;
        }
        Ok(postgres)
    }

    /// Where its database `postgres` is.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port that it listens on, at 127.0.0.1, for as long as it is there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its data and its configuration.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Creates an empty database, and says where it is. Its name begins with `name`, and no other has it.
    ///
    /// # Panics
    ///
    /// If `name` is not made of lower-case letters, digits and underscores, or the server is not there.
    pub async fn database(&self, name: &str) -> String {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_plain), "{name:?} is no name for a database of a test");
        let name = format!("{name}_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // The other template waits for whoever looks into it.
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await
            .unwrap_or_else(|error| panic!("cannot create the database {name}: {error:?}"));
        self.url_of(&name)
    }

    /// Stops it in good order: clients are cut off, and all is written to its files. It can be
    /// [started again](Self::restart).
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within 30 seconds.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        if let Some(server) = &self.server {
            signal(server.id(), Signal::INT);
        }
        self.ended().await
    }

    /// Kills it with all its processes, with SIGKILL, in the middle of whatever they do. It can be
    /// [started again](Self::restart), and then recovers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it has not ended within 30 seconds.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(server) = &self.server {
            let id = server.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            signal(id, Signal::KILL);
            children
                .split_whitespace()
                .filter_map(|id| id.parse().ok())
                .for_each(|id| signal(id, Signal::KILL));
        }
        self.ended().await
    }

    /// Starts it again, with the same data on the same port, after it was stopped or killed; stops it before if it was
    /// not.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within 30 seconds.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        // What was killed may take a moment to let go of the port and of the shared memory.
        let started = timeout(LIMIT, async {
            while self.run().await.is_err() {
                SystemClock.sleep(PAUSE).await;
            }
        });
        started.await.map_err(|_| self.failed("Postgres did not start again"))
    }

    /// Lays a new cluster of databases.
    fn prepare(settings: PostgresSettings) -> Result<Self, ServerError> {
        let programs = Programs::find()?;
        // SIGQUIT is its immediate shutdown, which leaves nothing behind in the system's shared memory.
        let folder =
            GuardedFolder::new("QUIT").map_err(ServerError::machine("make a folder for Postgres"))?;
        let port = free_port().map_err(ServerError::machine("find a free port"))?;
        let databases = AtomicU64::default();
        let postgres = Self { settings, programs, folder, port, server: None, databases };
        let mut initdb = postgres.programs.command("initdb");
        initdb.arg("-D").arg(postgres.data_folder()).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        let output = initdb.args(["--no-locale", "--no-sync"]).stdin(Stdio::null()).output();
        let output = output.map_err(ServerError::machine("run initdb"))?;
        if output.status.success() {
            return Ok(postgres);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ServerError::Failed { what: format!("initdb ended with {}", output.status), said })
    }

    /// Starts the server on its port, and waits until it answers.
    async fn run(&mut self) -> Result<(), ServerError> {
        let server = self.spawn().map_err(ServerError::machine("start Postgres"))?;
        let guarded = self.folder.guard(Some(&server));
        self.server = Some(server);
        guarded.map_err(ServerError::machine("guard Postgres"))?;
        let ready = timeout(LIMIT, async {
            while self.is_running() {
                if self.is_ready() {
                    return true;
                }
                SystemClock.sleep(PAUSE).await;
            }
            false
        });
        match ready.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failed("Postgres ended before it answered")),
            Err(_) => {
                let error = self.failed("Postgres does not answer");
                self.kill().await?;
                Err(error)
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.data_folder()).arg("-p").arg(self.port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.arg("-c").arg(format!("max_connections={}", self.settings.max_connections));
        if !self.settings.durable {
            // Not `synchronous_commit`: without it, a killed server forgets what it has just answered.
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        // A group of its own: an interrupt from the keyboard is for the tests, which then end it.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn()
    }

    /// Whether the server says that it takes connections. Asking at its port would not do: another may listen there.
    fn is_ready(&self) -> bool {
        let status = fs::read_to_string(self.data_folder().join("postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines().map(str::trim);
        let is_ours = lines.next() == self.server.as_ref().map(|server| server.id().to_string()).as_deref();
        is_ours && lines.nth(6) == Some("ready")
    }

    fn is_running(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let runs = matches!(server.try_wait(), Ok(None));
        if !runs {
            self.server = None;
            // Whoever cannot be told any more has ended, and has ended the server.
            let _ = self.folder.guard(None);
        }
        runs
    }

    async fn ended(&mut self) -> Result<(), ServerError> {
        let ended = timeout(LIMIT, async {
            while self.is_running() {
                SystemClock.sleep(PAUSE).await;
            }
        });
        ended.await.map_err(|_| self.failed("Postgres does not end"))
    }

    fn failed(&self, what: &str) -> ServerError {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let said = lines[lines.len().saturating_sub(LINES)..].join("\n");
        ServerError::Failed { what: what.to_owned(), said }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
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

impl Drop for Postgres {
    fn drop(&mut self) {
        self.folder.remove(self.server.take());
    }
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It may have ended by itself; whoever signals then waits for its end.
        let _ = kill_process(process, signal);
    }
}

/// Runs what waits for programs and files where it holds up no task.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("preparing a server does not panic")
}

/// How long a server may take to start or to end.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at whether it has.
const PAUSE: Duration = Duration::from_millis(5);

/// How many ports are tried.
const TRIES: u32 = 5;

/// How much of its log an error shows.
const LINES: usize = 12;
