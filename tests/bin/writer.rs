//! Writes to the place that is named first, an SQLite file or the tables of an access key at an endpoint
//! (`http://127.0.0.1:8000/key`), with the seed that comes second, and says what is stored: until it is killed, or each of its
//! tasks has stored as many commits as the third argument says.

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
