//! Writes to a storage and prints the stored commits, until it is killed or each of its tasks has stored the
//! given number of commits. The arguments are an SQLite file or the tables of an access key at an endpoint
//! (`http://127.0.0.1:8000/key`), the seed, and optionally the number of commits.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::kills::{Location, write};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let place = Location::told(&arguments.next().context("where to?")?);
    let mut number = || arguments.next().map(|text| text.to_string_lossy().parse()).transpose();
    let seed = number()?.context("which seed?")?;
    write(&place, seed, number()?).await
}
