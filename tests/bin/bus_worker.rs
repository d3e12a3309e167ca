//! Carries events: the part of the way that is named first, on the bus that the last five arguments tell, with faults that are
//! drawn from the seed between them; `calm` for none.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::bus::{Bus, BusFaults, Part, work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let part = Part::parse(&arguments.next().context("which part of the way?")?)?;
    let faults = arguments.next().context("from which seed?")?;
    let bus = Bus::parse(&mut arguments)?;
    let bus = if faults == "calm" { bus } else { bus.through(BusFaults::drawn(faults.parse()?)) };
    work(&bus, part).await
}
