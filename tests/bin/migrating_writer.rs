//! Saves to an SQLite file, to another one, or to both, as in the steps of a migration. The arguments are the old file, the
//! new file, the job, the journal and the seed.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::rolling_migration::{Job, work};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let old = arguments.next().context("which old file?")?;
    let new = arguments.next().context("which new file?")?;
    let job = arguments.next().as_deref().and_then(Job::parse).context("which job?")?;
    let journal = arguments.next().context("which journal?")?;
    let seed = arguments.next().context("which seed?")?.parse()?;
    work(old.as_ref(), new.as_ref(), job, journal.as_ref(), seed).await
}
