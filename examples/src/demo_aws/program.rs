//! A process of the story.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A running `identity`, which is killed when this is dropped.
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

pub(super) use eventsrc_test_servers::HANG;

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
        let out = child.stdout.take().context("its output is ours")?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    /// The next line that it says.
    pub(super) async fn line(&mut self) -> Result<String> {
        match timeout(HANG, self.lines.next_line()).await {
            Ok(line) => line?.context("the program has ended"),
            Err(_) => bail!("the program says nothing for {} seconds", HANG.as_secs()),
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(super) async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().context("the program has ended")?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status().await?;
        ensure!(sent.success(), "cannot send SIG{signal}");
        Ok(())
    }

    /// Kills it in the middle of whatever it does.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Tells it to end, and gives what it says until it has.
    pub(super) async fn stop(mut self) -> Result<Vec<String>> {
        self.signal("TERM").await?;
        let mut said = Vec::new();
        let ending = async {
            while let Some(line) = self.lines.next_line().await? {
                said.push(line);
            }
            anyhow::Ok(self.child.wait().await?)
        };
        let ended = timeout(HANG, ending).await.context("the program does not end")??;
        ensure!(ended.success(), "the program ended with {ended}");
        Ok(said)
    }
}
