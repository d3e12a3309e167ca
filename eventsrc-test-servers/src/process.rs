//! A server that is a process of its own.

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

use crate::HANG;
use crate::error::ServerError;
use crate::guarded_folder::GuardedFolder;
use crate::port::free_port;

/// What kind of server it is.
pub(super) trait Program: Send + Sync {
    /// What errors call it.
    const NAME: &'static str;

    /// What tells it to end in good order.
    const STOP: Signal;

    /// The name of the signal that tells it to end at once, and to leave nothing behind outside its folder.
    const END: &'static str;

    /// What runs it on `port` of 127.0.0.1, with its files in `folder`.
    fn command(&self, folder: &Path, port: u16) -> Command;

    /// Whether the process `server` takes requests. Asking at its port would not do: another may listen there.
    fn is_ready(&self, server: u32, folder: &Path, port: u16) -> impl Future<Output = bool> + Send;
}

/// A server of this process, gone with its folder on drop or with this process.
pub(super) struct Process<P: Program> {
    program: P,
    folder: GuardedFolder,
    port: u16,
    server: Option<Child>,
}

impl<P: Program> Process<P> {
    /// Gives it a new folder within `parent`, and a port. It does not run yet.
    pub(super) fn new(program: P, parent: &Path) -> Result<Self, ServerError> {
        let folder = GuardedFolder::new(parent, P::END);
        let folder = folder.map_err(ServerError::machine(format!("make a folder for {}", P::NAME)))?;
        Ok(Self { program, folder, port: new_port()?, server: None })
    }

    /// Starts it for the first time, and waits until it is ready.
    pub(super) async fn start(&mut self) -> Result<(), ServerError> {
        let started = timeout(HANG, async {
            let mut tries = 1;
            while let Err(error) = self.run().await {
                // Another process may have been given the same port.
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

    /// Stops it in good order, if it runs.
    pub(super) async fn stop(&mut self) -> Result<(), ServerError> {
        if let Some(server) = &self.server {
            signal(server.id(), P::STOP);
        }
        self.ended().await
    }

    /// Kills it with all its processes, in the middle of whatever they do.
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

    /// Starts it again on the same port; stops it before if it runs.
    pub(super) async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        // What was killed may take a moment to let go of the port and of the shared memory.
        let started = timeout(HANG, async {
            while self.run().await.is_err() {
                SystemClock.sleep(PAUSE).await;
            }
        });
        started.await.map_err(|_| self.failed("did not start again"))
    }

    /// Starts it on its port, and waits until it is ready, however long that takes.
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
        // A group of its own: an interrupt from the keyboard is for the tests, which then end it.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn()
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
        let said = lines[lines.len().saturating_sub(LINES)..].join("\n");
        ServerError::Failed { what: format!("{} {what}", P::NAME), said }
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
        // It may have ended by itself; whoever signals then waits for its end.
        let _ = kill_process(process, signal);
    }
}

/// Runs what waits for programs and files where it holds up no task.
pub(super) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("preparing a server does not panic")
}

/// What it says goes to this file in its folder.
const LOG: &str = "log";

/// Between two looks at whether a server has started or ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How many ports are tried.
const TRIES: u32 = 5;

/// How much of its log an error shows.
const LINES: usize = 12;
