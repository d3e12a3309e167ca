//! Stores events in the folder that is named first, with the seed that comes second, keeps views of them, and says what is
//! applied, until it is killed.

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
