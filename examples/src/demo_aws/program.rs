//! A process of the demonstration.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
pub(super) use eventsrc_test_servers::HANG;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A running `identity`, which is killed on drop.
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.kill_on_drop(true).spawn();
        let mut child = child.with_context(|| format!("cannot run {}", program.display()))?;
        let out = child.stdout.take().context("the program has no output")?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    /// Returns the next line of its output.
    pub(super) async fn line(&mut self) -> Result<String> {
        match timeout(HANG, self.lines.next_line()).await {
            Ok(line) => line?.context("the program has ended"),
            Err(_) => bail!("the program printed nothing for {} seconds", HANG.as_secs()),
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(super) async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().context("the program has ended")?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status().await?;
        ensure!(sent.success(), "cannot send SIG{signal}");
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it with SIGTERM, waits for its end, and returns the lines that it prints until then.
    pub(super) async fn stop(mut self) -> Result<Vec<String>> {
        self.signal("TERM").await?;
        let mut lines = Vec::new();
        let ending = async {
            while let Some(line) = self.lines.next_line().await? {
                lines.push(line);
            }
            anyhow::Ok(self.child.wait().await?)
        };
        let ended = timeout(HANG, ending).await.context("the program does not end after SIGTERM")??;
        ensure!(ended.success(), "the program ended with {ended}");
        Ok(lines)
    }
}
