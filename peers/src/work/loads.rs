//! Loads of one long stream.

use anyhow::{Result, ensure};

use super::ledger::entry;
use super::{Measured, ensure_stored};
use crate::database::Database;
use crate::measure::Stopwatch;
use crate::peer::{Account, Peer};

/// Number of events of the stream.
pub(super) const LENGTH: u64 = 1_000;
/// Number of loads before the measurement.
const WARMING: u64 = 3;

pub(super) async fn run(peer: &dyn Peer, database: &mut Database, loads: u64) -> Result<Measured> {
    const STREAM: &str = "ledger-0";
    let mut expected = Account::default();
    let entries: Vec<_> = (0..LENGTH).map(|index| entry(STREAM, index)).collect();
    entries.iter().for_each(|entry| expected.apply(entry.amount));
    for entries in entries.chunks(10) {
        peer.fill(STREAM, entries.to_vec()).await?;
    }
    ensure_stored(peer, database, LENGTH).await?;
    database.settle().await?;
    let load = async |times: u64| {
        for _ in 0..times {
            let account = peer.load(STREAM).await?;
            ensure!(account == expected, "the stream was loaded as {account:?} instead of {expected:?}");
        }
        Ok(())
    };

    load(WARMING).await?;
    let watch = Stopwatch::start();
    load(loads).await?;
    let milliseconds = watch.seconds() * 1_000.0;
    Ok(Measured { value: milliseconds / loads as f64, count: loads, failures: 0, verdict: None })
}
