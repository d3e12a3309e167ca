//! Keeps or rebuilds a ledger. The arguments are the SQLite file of the events, the file or database of the
//! ledger, the job and the seed.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::ledgers::{Job, Target, work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let storage = arguments.next().context("which events?")?;
    let target = Target::parse(&arguments.next().context("which ledger?")?);
    let job = Job::parse(&arguments.next().context("which job?")?)?;
    let seed = arguments.next().context("which seed?")?.parse()?;
    work(storage.as_ref(), &target, job, seed).await
}
