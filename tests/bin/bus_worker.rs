//! Runs one part of the path of events until it is killed. The first argument names the part, the last five the
//! bus, and the second the seed of the injected faults, or `calm` for none.

use std::env;

use anyhow::{Context as _, Result};
use eventsrc_tests::bus::{Bus, BusFaults, Part, work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let part = Part::parse(&arguments.next().context("the first argument is a part of the path")?)?;
    let faults = arguments.next().context("from which seed?")?;
    let bus = Bus::parse(&mut arguments)?;
    let bus = if faults == "calm" { bus } else { bus.through(BusFaults::drawn(faults.parse()?)) };
    work(&bus, part).await
}
