//! Commands on many streams.

use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;

use super::ledger::{STREAMS, entry};
use super::{Measured, ensure_stored};
use crate::database::Database;
use crate::measure::Stopwatch;
use crate::peer::Peer;

pub(super) async fn run(
    peer: &Arc<dyn Peer>,
    database: &mut Database,
    tasks: u64,
    commands: u64,
) -> Result<Measured> {
    let warming = tasks * WARMING;
    issue(peer, tasks, warming, tasks, "warming").await?;
    database.settle().await?;
    let watch = Stopwatch::start();
    let failures = issue(peer, tasks, commands, STREAMS, "ledger").await?;
    let seconds = watch.seconds();
    ensure_stored(&**peer, database, warming + commands).await?;
    Ok(Measured { value: commands as f64 / seconds, count: commands, failures, verdict: None })
}

/// Number of commands of each task before the measurement, so that it has a connection with prepared statements.
const WARMING: u64 = 5;

/// Issues commands from `tasks` tasks to the streams in turn, and returns the number of failed attempts.
async fn issue(
    peer: &Arc<dyn Peer>,
    tasks: u64,
    commands: u64,
    streams: u64,
    name: &'static str,
) -> Result<u64> {
    let running = (0..tasks).map(|task| {
        let peer = Arc::clone(peer);
        tokio::spawn(async move {
            let mut failures = 0;
            // No two tasks share a stream.
            for number in (0..commands).filter(|number| number % streams % tasks == task) {
                let stream = format!("{name}-{}", number % streams);
                failures += peer.command(&stream, entry(&stream, number / streams)).await?;
            }
            anyhow::Ok(failures)
        })
    });
    try_join_all(running).await?.into_iter().sum()
}
