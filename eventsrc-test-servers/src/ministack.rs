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
use crate::process::{Process, Program, on_a_thread};

/// A ministack of this process, which has a DynamoDB among other services of AWS, written apart from AWS's own: gone with
/// its data on drop or with this process.
///
/// Signatures are not looked at. An access key id of twelve digits is an account with tables of its own, in each region; all
/// others share those of one account.
pub struct Ministack {
    process: Process<Module>,
    keys: AtomicU64,
}

impl Ministack {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotInstalled`] where it is not installed, [`ServerError::Failed`] if it does not answer within ten
    /// minutes, and [`ServerError::Machine`] if there is no folder, port or process to be had.
    pub async fn start() -> Result<Self, ServerError> {
        let mut process = on_a_thread(Module::prepare).await?;
        process.start().await?;
        Ok(Self { process, keys: AtomicU64::default() })
    }

    /// Where all its services are, as an AWS SDK is told: `http://127.0.0.1:PORT`.
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

    /// An access key id that has no tables yet, nor streams, and that no other caller has.
    pub fn access_key(&self) -> String {
        // Zero is the account that all others share.
        format!("{:012}", self.keys.fetch_add(1, Ordering::Relaxed) + 1)
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

    /// Starts it again on the same port, without any data; stops it before if it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not answer within ten minutes.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.restart().await
    }
}

/// The Python that has it among its modules.
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
