//! Carries events: the part of the way that is named first, on the bus that the other five arguments tell.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::bus::{Bus, Part, work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let part = Part::parse(&arguments.next().context("which part of the way?")?)?;
    work(&Bus::parse(&mut arguments)?, part).await
}
