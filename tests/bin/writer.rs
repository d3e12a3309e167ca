//! Writes to the SQLite file that is named first, with the seed that comes second, and says what is stored: until it is
//! killed, or each of its tasks has stored as many commits as the third argument says.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::kills::write;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let database = arguments.next().context("which file?")?;
    let mut number = || arguments.next().map(|text| text.to_string_lossy().parse()).transpose();
    let seed = number()?.context("which seed?")?;
    write(database.as_ref(), seed, number()?).await
}
