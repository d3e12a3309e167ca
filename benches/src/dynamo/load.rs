//! A load and fold of a stream in commits, compared with a `Query` of one item per event; and its cost with a snapshot.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::codec::{Codec, Postcard};
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::{Consistency, Event, Fold, Query, QueryApi, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::{Dynamo, DynamoSnapshots};
use tokio::runtime::Builder;

use super::{Bench, Database, Storage, Sums, Transfer, by_hand, key, store};
use crate::Benchmark;
use crate::measure::counted::{self, region};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "dynamo-load",
    about: "DynamoDB: a load and fold compared with a raw Query of one item per event, and its cost with a snapshot",
    run,
    child,
};

const EVENTS: u64 = 100;
/// Events in one commit.
const SIZE: u64 = 10;
/// Number of the stream with binary payloads.
const BINARY: u64 = 1;
const WARM: u64 = 5;
const COUNTED: u64 = 20;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    let database = bench.database();
    let (ours, reference) = bench.runtime.block_on(async {
        let dynamo = database.tables().await?;
        store(&Storage::new(&dynamo), &key(0), EVENTS, SIZE).await?;
        store(&Storage::with_codec(&dynamo, Postcard), &key(BINARY), EVENTS, SIZE).await?;
        let client = database.client();
        by_hand::create(&client).await?;
        for number in 1..=EVENTS {
            by_hand::transact(&client, key(0).as_str(), number, 1).await?;
        }
        let before = dynamo.usage();
        load(&QueryApi::new(Storage::new(&dynamo), Adding), &key(0)).await?;
        let usage = dynamo.usage() - before;
        ensure!(usage.requests == 1, "a load of {EVENTS} events: {usage:?}");
        Ok((usage.read_units, load_by_hand(&client).await?))
    })?;
    let count = |side: &str| {
        let arguments = [side, &database.endpoint, &database.access_key];
        let total = counted::instructions(BENCHMARK.name, &arguments)?;
        Ok::<_, anyhow::Error>(total as f64 / (COUNTED * EVENTS) as f64)
    };
    let name =
        |against: &str| format!("DynamoDB load and fold, {SIZE} a commit, against a raw Query of {against}");
    let (json, by_hand) = (count("ours")?, count("raw")?);
    let row = |against, ours, reference| Row::new(name(against), "instructions/event", ours, reference);
    let requests = bench.runtime.block_on(with_snapshot(&bench.database()))? as f64;
    Ok(vec![
        row("an item an event", json, by_hand).bar(Bar::AtMost(0.45)),
        row("an item an event, ours as postcard", count("ours, binary")?, by_hand),
        row("the same items", json, count("raw, the same items")?),
        Row::new(name("an item an event"), "read units/load", ours, reference).bar(Bar::AtMost(1.0)),
        Row::new("DynamoDB load with a snapshot, against two requests", "requests/load", requests, 2.0)
            .bar(Bar::AtMost(1.0)),
    ])
}

/// Returns the maximum number of requests of a load with a snapshot, of a short stream and of a long one.
async fn with_snapshot(database: &Database) -> Result<u64> {
    let dynamo = database.tables().await?;
    let storage = Storage::new(&dynamo);
    let mut most = 0;
    for (stream, events) in [(1, EVENTS), (2, 100 * EVENTS)] {
        store(&storage, &key(stream), events, SIZE).await?;
        let snapshots = DynamoSnapshots::<StreamName, u64, Sums>::new(&dynamo, "sums");
        let query =
            QueryApi::new(storage.clone(), Adding).with_snapshots(snapshots, SnapshotPolicy::Every(50));
        // The first load stores the snapshot.
        for load in 0..2 {
            let before = dynamo.usage();
            let sums = query.get(&key(stream), Consistency::LatestEvent).await?;
            ensure!(sums == Some(Sums::up_to(events)), "a load returned {sums:?}");
            if load > 0 {
                most = most.max((dynamo.usage() - before).requests);
            }
        }
    }
    Ok(most)
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, endpoint, access_key] = arguments else { bail!("expected a side, an endpoint and a key") };
    let database = Database { endpoint: endpoint.into(), access_key: access_key.into() };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let client = database.client();
    let dynamo = Dynamo::new(client.clone(), super::EVENTS);
    let both = |load: &dyn Fn(u64) -> Result<()>| {
        load(WARM)?;
        region(|| load(COUNTED))
    };
    match side {
        "ours" => {
            let query = QueryApi::new(Storage::new(&dynamo), Adding);
            both(&|times| runtime.block_on(repeat(times, async || load(&query, &key(0)).await)))
        }
        "ours, binary" => {
            let query = QueryApi::new(Storage::with_codec(&dynamo, Postcard), Adding);
            both(&|times| runtime.block_on(repeat(times, async || load(&query, &key(BINARY)).await)))
        }
        "raw" => {
            both(&|times| runtime.block_on(repeat(times, async || load_by_hand(&client).await.map(drop))))
        }
        "raw, the same items" => {
            both(&|times| runtime.block_on(repeat(times, async || load_commits_by_hand(&client).await)))
        }
        _ => bail!("unknown side {side}"),
    }
}

async fn repeat(times: u64, load: impl AsyncFn() -> Result<()>) -> Result<()> {
    for _ in 0..times {
        load().await?;
    }
    Ok(())
}

async fn load<C: Codec<Transfer>>(query: &QueryApi<Storage<C>, Adding>, key: &StreamName) -> Result<()> {
    check(query.get(key, Consistency::LatestEvent).await?.context("the stream has no value")?)
}

async fn load_by_hand(client: &Client) -> Result<f64> {
    let (key, mut sums) = (key(0), Sums::default());
    let units = by_hand::load(client, by_hand::TABLE, key.as_str(), |payload| {
        sums.add(&serde_json::from_str(payload)?);
        Ok(())
    });
    let units = units.await?;
    check(sums)?;
    Ok(units)
}

/// Loads the items of eventsrc with the SDK, `serde_json` and a loop.
async fn load_commits_by_hand(client: &Client) -> Result<()> {
    let (key, mut sums) = (key(0), Sums::default());
    let load = by_hand::load(client, super::EVENTS, key.as_str(), |payload| {
        let transfers: Vec<Transfer> = serde_json::from_str(payload)?;
        transfers.iter().for_each(|transfer| sums.add(transfer));
        Ok(())
    });
    load.await?;
    check(sums)
}

fn check(sums: Sums) -> Result<()> {
    ensure!(sums.transfers == EVENTS && sums.amount > 0, "a load returned {sums:?}");
    Ok(())
}

struct Adding;

impl Fold<StreamName, u64, Transfer> for Adding {
    type Key = StreamName;
    type Value = Sums;

    fn apply(&self, _: &StreamName, value: &mut Option<Sums>, event: Event<'_, StreamName, u64, Transfer>) {
        value.get_or_insert_default().add(event.payload);
    }
}
