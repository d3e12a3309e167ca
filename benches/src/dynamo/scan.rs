//! A scan of all streams for replay, compared with a parallel `Scan` of the same table.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures::TryStreamExt;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt};

use super::{Bench, EVENTS, Storage, Transfer, key, store};
use crate::measure::paired;
use crate::table::{Bar, Row};
use crate::{Benchmark, no_child};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "dynamo-scan",
    about: "DynamoDB: a scan of 20 MB for replay, compared with a raw parallel Scan",
    run,
    child: no_child,
};

const STREAMS: u64 = 65;
/// Events in one stream.
const LENGTH: u64 = 1_000;
/// Events in one commit.
const SIZE: u64 = 10;
const SEGMENTS: u32 = 2;
const PAIRS: usize = 20;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let database = bench.database();
    let storage = bench.runtime.block_on(async {
        let storage = Storage::new(&database.tables().await?);
        let filled = stream::iter(0..STREAMS).map(|stream| {
            let storage = storage.clone();
            async move { store(&storage, &key(stream), LENGTH, SIZE).await }
        });
        filled.buffer_unordered(2).try_for_each(async |()| Ok(())).await?;
        anyhow::Ok(storage)
    })?;
    let client = database.client();
    let timed = |scan: Scan| {
        let segments = Segment::split(SEGMENTS).map(|segment| {
            let (storage, client) = (storage.clone(), client.clone());
            bench.runtime.spawn(async move {
                match scan {
                    Scan::Ours => ours(&storage, segment).await,
                    Scan::Raw => raw(&client, segment, touch).await,
                    Scan::Decoded => raw(&client, segment, decode).await,
                }
            })
        });
        let (time, counts) = bench.runtime.block_on(paired::time(try_join_all(segments)));
        let events: u64 = counts?.into_iter().sum::<Result<u64>>()?;
        ensure!(events == STREAMS * LENGTH, "a scan returned {events} events");
        Ok::<Duration, anyhow::Error>(time)
    };
    for scan in [Scan::Ours, Scan::Raw, Scan::Decoded] {
        timed(scan)?;
    }
    let row = |against: &str, reference| {
        let paired = paired::compare_whole(PAIRS, || timed(Scan::Ours), || timed(reference))?;
        let megabytes = (STREAMS * LENGTH) as f64 * 300.0 / 1e6;
        let name = format!("DynamoDB scan, {SIZE} a commit, against a raw parallel Scan that {against}");
        let row = Row::new(name, "MB/s", megabytes / paired.ours, megabytes / paired.reference);
        anyhow::Ok(row.by_pairs(paired.speed))
    };
    Ok(vec![
        row("counts and touches", Scan::Raw)?.bar(Bar::AtLeast(0.9)),
        row("decodes the payloads", Scan::Decoded)?,
    ])
}

/// A method to read the whole table.
#[derive(Clone, Copy)]
enum Scan {
    Ours,
    Raw,
    Decoded,
}

/// Returns the number of events in the segment.
async fn ours(storage: &Storage, segment: Segment) -> Result<u64> {
    let mut events = 0;
    let mut pages = storage.scan(segment);
    while let Some(page) = pages.try_next().await? {
        events += page.events().filter(|event| event.payload.amount > 0).count() as u64;
    }
    Ok(events)
}

/// Returns the number of events in the segment without eventsrc. `count` counts the events of a payload.
async fn raw(client: &Client, segment: Segment, count: fn(&str) -> Result<u64>) -> Result<u64> {
    let mut events = 0;
    let mut after = None;
    loop {
        let page = client
            .scan()
            .table_name(EVENTS)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .total_segments(segment.total().try_into()?)
            .segment(segment.index().try_into()?)
            .set_exclusive_start_key(after)
            .send()
            .await?;
        for item in page.items() {
            let payload = item.get("p").and_then(|payload| payload.as_s().ok());
            events += count(payload.context("the item has no payload")?)?;
        }
        after = page.last_evaluated_key;
        if after.as_ref().is_none_or(|after| after.is_empty()) {
            return Ok(events);
        }
    }
}

/// Reads every byte, and counts events without decoding them.
fn touch(payload: &str) -> Result<u64> {
    let braces = payload.bytes().filter(|byte| *byte == b'{').count();
    Ok(braces as u64)
}

fn decode(payload: &str) -> Result<u64> {
    let transfers: Vec<Transfer> = serde_json::from_str(payload)?;
    Ok(transfers.iter().filter(|transfer| transfer.amount > 0).count() as u64)
}
