//! A server that runs as a separate process.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::error::ServerError;
use crate::guarded_folder::GuardedFolder;
use crate::limits::HANG;
use crate::port::free_port;

/// A kind of server.
pub(super) trait Program: Send + Sync {
    /// The name of the server in errors.
    const NAME: &'static str;

    /// The signal that requests an orderly shutdown.
    const STOP: Signal;

    /// The name of the signal that ends the server at once and leaves nothing behind outside of its folder.
    const END: &'static str;

    /// Returns the command that runs the server on `port` of 127.0.0.1 with its files in `folder`.
    fn command(&self, folder: &Path, port: u16) -> Command;

    /// Returns true if the process `server` accepts requests. A connection to the port alone does not show that,
    /// because another process may listen on it.
    fn is_ready(&self, server: u32, folder: &Path, port: u16) -> impl Future<Output = bool> + Send;
}

/// A server of this process. It ends, and its folder is removed, on drop or with this process.
pub(super) struct Process<P: Program> {
    program: P,
    folder: GuardedFolder,
    port: u16,
    server: Option<Child>,
}

impl<P: Program> Process<P> {
    /// Creates a new folder in `parent` and chooses a port. The server does not run yet.
    pub(super) fn new(program: P, parent: &Path) -> Result<Self, ServerError> {
        let folder = GuardedFolder::new(parent, P::END);
        let folder = folder.map_err(ServerError::machine(format!("make a folder for {}", P::NAME)))?;
        Ok(Self { program, folder, port: new_port()?, server: None })
    }

    /// Starts the server for the first time, and waits until it is ready.
    pub(super) async fn start(&mut self) -> Result<(), ServerError> {
        let started = timeout(HANG, async {
            let mut tries = 1;
            while let Err(error) = self.run().await {
                // Another process may have got the same port.
                if tries == TRIES {
                    return Err(error);
                }
                tries += 1;
                self.port = new_port()?;
            }
            Ok(())
        });
        match started.await {
            Ok(started) => started,
            Err(_) => Err(self.failed("does not answer")),
        }
    }

    pub(super) fn program(&self) -> &P {
        &self.program
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Stops the server in an orderly way, if it runs.
    pub(super) async fn stop(&mut self) -> Result<(), ServerError> {
        if let Some(server) = &self.server {
            signal(server.id(), P::STOP);
        }
        self.ended().await
    }

    /// Kills the server and its child processes with SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<(), ServerError> {
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

    /// Starts the server again on the same port. Stops it first if it runs.
    pub(super) async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        // A killed server may take a moment to release the port and the shared memory.
        let started = timeout(HANG, async {
            while self.run().await.is_err() {
                SystemClock.sleep(PAUSE).await;
            }
        });
        started.await.map_err(|_| self.failed("did not start again"))
    }

    /// Starts the server on its port, and waits until it is ready, without a time limit.
    async fn run(&mut self) -> Result<(), ServerError> {
        let server = self.spawn().map_err(ServerError::machine(format!("start {}", P::NAME)))?;
        let (id, guarded) = (server.id(), self.folder.guard(Some(&server)));
        self.server = Some(server);
        guarded.map_err(ServerError::machine(format!("guard {}", P::NAME)))?;
        while self.is_running() {
            if self.program.is_ready(id, self.folder.path(), self.port).await {
                return Ok(());
            }
            SystemClock.sleep(PAUSE).await;
        }
        Err(self.failed("ended before it answered"))
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder().join(LOG))?;
        let mut command = self.program.command(self.folder(), self.port);
        // A process group of its own, so that an interrupt from the keyboard reaches only the tests, which then end it.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn()
    }

    fn is_running(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let runs = matches!(server.try_wait(), Ok(None));
        if !runs {
            self.server = None;
            // An error means that the guard has ended, and it ends the server first.
            let _ = self.folder.guard(None);
        }
        runs
    }

    async fn ended(&mut self) -> Result<(), ServerError> {
        let ended = timeout(HANG, async {
            while self.is_running() {
                SystemClock.sleep(PAUSE).await;
            }
        });
        ended.await.map_err(|_| self.failed("does not end"))
    }

    fn failed(&self, what: &str) -> ServerError {
        let log = fs::read_to_string(self.folder().join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let output = lines[lines.len().saturating_sub(LINES)..].join("\n");
        ServerError::Failed { what: format!("{} {what}", P::NAME), said: output }
    }
}

impl<P: Program> Drop for Process<P> {
    fn drop(&mut self) {
        self.folder.remove(self.server.take());
    }
}

fn new_port() -> Result<u16, ServerError> {
    free_port().map_err(ServerError::machine("find a free port"))
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // An error means that the process has ended already. The caller waits for its end anyway.
        let _ = kill_process(process, signal);
    }
}

/// Runs blocking work on a thread that blocks no task.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("preparing a server does not panic")
}

/// File in the folder of the server that receives its output.
const LOG: &str = "log";

/// Interval between two checks of whether a server has started or ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Number of ports that are tried.
const TRIES: u32 = 5;

/// Number of lines of its log that an error shows.
const LINES: usize = 12;
