//! A private ministack.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use crate::error::ServerError;
use crate::http::answers;
use crate::installed::installed;
use crate::process::{Process, Program, run_blocking};

/// A ministack of this process: an implementation of DynamoDB and other services of AWS that is independent of AWS's
/// own. It ends, and its data is removed, on drop or with this process.
///
/// Signatures are not checked. An access key id of twelve digits is an account with tables of its own in each region.
/// All other access keys share the tables of one account.
pub struct Ministack {
    process: Process<Module>,
    keys: AtomicU64,
}

impl Ministack {
    /// Starts a ministack, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] if it is not installed, [`ServerError::Failed`] if it does not answer within ten
    /// minutes, and [`ServerError::Machine`] if no folder, port or process is available.
    pub async fn start() -> Result<Self, ServerError> {
        let mut process = run_blocking(Module::prepare).await?;
        process.start().await?;
        Ok(Self { process, keys: AtomicU64::default() })
    }

    /// Returns the endpoint of all its services for an AWS SDK: `http://127.0.0.1:PORT`.
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

    /// Returns an access key id without tables and streams that no other caller gets.
    pub fn access_key(&self) -> String {
        // Zero is the shared account.
        format!("{:012}", self.keys.fetch_add(1, Ordering::Relaxed) + 1)
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

    /// Starts it again on the same port, without data. Stops it first if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }
}

/// The Python interpreter that has ministack among its modules.
struct Module {
    python: PathBuf,
}

impl Module {
    fn prepare() -> Result<Process<Self>, ServerError> {
        let python = "bin/python";
        let installed = installed(Self::NAME, "ministack", python)?;
        Process::new(Self { python: installed.join(python) }, &env::temp_dir())
    }
}

impl Program for Module {
    const NAME: &'static str = "ministack";

    const STOP: Signal = Signal::TERM;

    const END: &'static str = "KILL";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "ministack"]).current_dir(folder);
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        command.env("LOG_LEVEL", "WARNING").env("TMPDIR", folder).env("STATE_DIR", folder.join("state"));
        command
    }

    async fn is_ready(&self, server: u32, _: &Path, port: u16) -> bool {
        answers(server, port).await
    }
}
