//! `demo-aws`: the processes of `identity --aws` on local servers. It follows a write while processes are stopped and
//! killed. Start with `demo.rs`.

mod curl;
mod demo;
mod program;
mod rows;
mod servers;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

use demo::Demo;
use servers::LocalServers;

/// Runs the demonstration and removes everything that it created. The program `identity` must be in the folder of this
/// program.
pub async fn run(out: &mut (dyn Write + Send)) -> ExitCode {
    match demo(out).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If the error cannot be written, the exit code still reports it.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(out: &mut (dyn Write + Send)) -> Result<()> {
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let servers = LocalServers::start().await?;
    Demo::new(&servers, own.with_file_name("identity"), folder.path(), out).run().await
}
