//! `demo-aws`: the processes of `identity --aws` on servers of this machine, and what becomes of a write when they are stopped and
//! killed. Begin with `story.rs`.

mod curl;
mod local;
mod program;
mod rows;
mod story;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

use local::Local;
use story::Story;

/// Tells the story, and takes everything away again. The program `identity` has to be beside this one.
pub async fn run(out: &mut (dyn Write + Send)) -> ExitCode {
    match tell(out).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens, the exit code still says it.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn tell(out: &mut (dyn Write + Send)) -> Result<()> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let local = Local::start().await?;
    Story::new(&local, own.with_file_name("identity"), folder.path(), out).tell().await
}
