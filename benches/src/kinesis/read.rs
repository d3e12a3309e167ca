//! A read of a stream to its end, compared with a loop of `GetRecords`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::feed::{Change, ChangeFeed as _};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_kinesis::record::AggregatedRecord;
use tokio::runtime::Builder;

use super::by_hand::{Commit, Shard};
use super::{Bench, Stream, change, every};
use crate::Benchmark;
use crate::dynamo::Sums;
use crate::measure::counted::{self, region};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "kinesis-read",
    about: "Kinesis: a stream read by a consumer, compared with a raw GetRecords loop",
    run,
    child,
};

/// Number of records: two calls with the maximum number of records.
const RECORDS: u64 = 20_000;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let row = |what: &str, aggregates| {
        let stream = bench.stream(1)?;
        bench.runtime.block_on(async {
            let changes = (1..=RECORDS).map(change).collect::<Result<Vec<_>>>()?;
            anyhow::Ok(stream.publisher(aggregates).publish(&changes).await?)
        })?;
        let count = |side: &str| {
            let total = counted::instructions(BENCHMARK.name, &[side, &stream.endpoint, &stream.name])?;
            anyhow::Ok(total as f64 / RECORDS as f64)
        };
        let name = format!("Kinesis read of {what}, against a raw GetRecords loop");
        let row = Row::new(name, "instructions/commit", count("ours")?, count("raw")?);
        anyhow::Ok(row.bar(Bar::AtMost(1.15)))
    };
    Ok(vec![row("a commit a record", false)?, row("commits in aggregated records", true)?])
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, endpoint, name] = arguments else { bail!("expected a side, an endpoint and a stream") };
    let stream = Stream::at(endpoint, name);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let read = || match side {
        "ours" => runtime.block_on(ours(&stream)),
        "raw" => runtime.block_on(raw(&stream)),
        _ => bail!("unknown side {side}"),
    };
    // The first read opens the connection.
    let expected = Sums::up_to(RECORDS);
    for sums in [read()?, region(read)?] {
        ensure!(sums == expected, "the sums of the read transfers are wrong");
    }
    Ok(())
}

async fn ours(stream: &Stream) -> Result<Sums> {
    let mut feed = stream.consumer(MemoryLeases::default(), every(Duration::from_millis(1))).await?;
    let mut sums = Sums::default();
    while sums.transfers < RECORDS {
        let delivery = feed.next().await?.context("the consumer has ended")?;
        for change in &delivery.changes {
            let Change::Commit(commit) = change else { bail!("expected a commit, got {change:?}") };
            commit.payloads.iter().for_each(|transfer| sums.add(transfer));
        }
        delivery.acknowledgement.acknowledge();
    }
    Ok(sums)
}

/// Reads the stream without eventsrc, and stores no checkpoint.
async fn raw(stream: &Stream) -> Result<Sums> {
    let mut shard = Shard::of(stream).await?;
    let mut sums = Sums::default();
    while sums.transfers < RECORDS {
        for record in shard.next().await? {
            let data = record.data.as_ref();
            match AggregatedRecord::read(data) {
                Ok(aggregated) => {
                    for part in aggregated.parts() {
                        Commit::read(part?.data)?.events.iter().for_each(|transfer| sums.add(transfer));
                    }
                }
                Err(_) => Commit::read(data)?.events.iter().for_each(|transfer| sums.add(transfer)),
            }
        }
    }
    Ok(sums)
}
