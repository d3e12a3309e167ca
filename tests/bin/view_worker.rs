//! Stores events in a folder, keeps views of them, and prints the applied positions, until it is killed. The
//! arguments are the folder and the seed.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::view_kills::work;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().context("which folder?")?;
    let seed = arguments.next().context("which seed?")?.to_string_lossy().parse()?;
    work(folder.as_ref(), seed).await
}
