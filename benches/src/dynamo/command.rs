//! A command, compared with a `PutItem` of the same item; and its cost, compared with a transaction of one item per event.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::{Context, Operation, Outcome, SaveApi, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::primitives::Blob;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use eventsrc_dynamo::{Dynamo, Usage};
use tokio::runtime::Builder;

use super::by_hand::{self, Item};
use super::{Bench, Database, EVENTS, Storage, Transfer, key};
use crate::measure::counted::{self, region};
use crate::table::{Bar, Row};
use crate::{Benchmark, account};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "dynamo-command",
    about: "DynamoDB: a command compared with a raw PutItem, and its cost compared with a transaction",
    run,
    child,
};

/// Number of commands that open the connection and fill all caches before the measured ones.
const WARM: u64 = 20;
const COUNTED: u64 = 100;

fn run(_: &Path) -> Result<Vec<Row>> {
    let bench = Bench::start()?;
    bench.runtime.block_on(same_items(&bench.database()))?;
    let count = |side: &str| {
        let Database { endpoint, access_key } = bench.database();
        let total = counted::instructions(BENCHMARK.name, &[side, &endpoint, &access_key])?;
        Ok::<_, anyhow::Error>(total as f64 / COUNTED as f64)
    };
    let ours = count("ours")?;
    let row = |against: &str, reference| {
        let name = format!("DynamoDB command, against a raw PutItem {against}");
        Row::new(name, "instructions/command", ours, reference)
    };
    let mut rows = vec![
        row("that asks the same", count("raw")?).bar(Bar::AtMost(1.05)),
        row("that does not ask for the units", count("raw, unmetered")?),
    ];
    rows.extend(bench.runtime.block_on(costs(&bench.database()))?);
    Ok(rows)
}

/// Measures the exact cost of commands.
async fn costs(database: &Database) -> Result<Vec<Row>> {
    let dynamo = database.tables().await?;
    let client = database.client();
    by_hand::create(&client).await?;
    let (saves, others) = (saves(&dynamo), saves(&dynamo));

    let cold = cost(&dynamo, save_all(&saves, 1..2, 0)).await?;
    ensure!((cold.requests, cold.read_units, cold.write_units) == (2, 1.0, 1.0), "a cold command: {cold:?}");
    let mut rows = Vec::new();
    let (mut next, mut requests) = (2, 0);
    for (count, units) in [(1, 1.0), (3, 1.0), (10, 4.0)] {
        let warm = cost(&dynamo, save_all(&saves, next..next + count, 0)).await?;
        let reference = by_hand::transact(&client, key(0).as_str(), next, count).await?;
        next += count;
        ensure!(warm.read_units == 0.0, "a warm command read: {warm:?}");
        requests = requests.max(warm.requests);
        let name = format!("DynamoDB command of {count}, against a transaction of an item an event");
        let row = Row::new(name, "write units/command", warm.write_units, reference);
        rows.push(row.bar(Bar::AtMost(units / reference)));
    }

    // The other writer does not know of the last command, and learns it from the conflict.
    let _ = cost(&dynamo, save_all(&others, 1..2, 1)).await?;
    let _ = cost(&dynamo, save_all(&saves, 1..2, 1)).await?;
    let conflict = cost(&dynamo, save_all(&others, 2..3, 1)).await?;
    ensure!(conflict.requests == 2 && conflict.write_units == 2.0, "a command that conflicts: {conflict:?}");

    let requests = requests as f64;
    let row = |name: &str, unit, ours, reference| {
        Row::new(format!("DynamoDB command, {name}"), unit, ours, reference)
    };
    rows.extend([
        row("warm, against one request", "requests/command", requests, 1.0).bar(Bar::AtMost(1.0)),
        row("cold, against a warm one", "requests/command", cold.requests as f64, requests)
            .bar(Bar::AtMost(2.0)),
        row("in conflict, against a cold one", "read units/command", conflict.read_units, cold.read_units)
            .bar(Bar::AtMost(0.0)),
    ]);
    Ok(rows)
}

async fn cost(dynamo: &Dynamo, command: impl Future<Output = Result<()>>) -> Result<Usage> {
    let before = dynamo.usage();
    command.await?;
    Ok(dynamo.usage() - before)
}

/// Checks that both sides store the same attributes with the same sizes.
async fn same_items(database: &Database) -> Result<()> {
    let dynamo = database.tables().await?;
    let client = database.client();
    save_all(&saves(&dynamo), 1..2, 0).await?;
    let ours = get(&client, &key(0)).await?;
    put(&client, key(1).as_str(), 1, true).await?;
    let raw = get(&client, &key(1)).await?;
    ensure!(
        ours.len() == raw.len() && ours.get("p") == raw.get("p"),
        "the items differ: ours is {ours:?}, the raw one is {raw:?}"
    );
    Ok(())
}

async fn get(client: &Client, key: &StreamName) -> Result<Item> {
    let get = client.get_item().table_name(EVENTS).key("k", AttributeValue::S(key.as_str().into()));
    let got = get.key("n", AttributeValue::N("1".into())).consistent_read(true).send().await?;
    got.item.context("the item is not in the table")
}

fn child(arguments: &[&str]) -> Result<()> {
    let &[side, endpoint, access_key] = arguments else { bail!("expected a side, an endpoint and a key") };
    let database = Database { endpoint: endpoint.into(), access_key: access_key.into() };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let dynamo = runtime.block_on(database.tables())?;
    let (warm, counted) = (1..WARM + 1, WARM + 1..WARM + COUNTED + 1);
    if side == "ours" {
        let saves = saves(&dynamo);
        runtime.block_on(save_each(&saves, warm))?;
        return region(|| runtime.block_on(save_each(&saves, counted)));
    }
    let client = database.client();
    let metered = match side {
        "raw" => true,
        "raw, unmetered" => false,
        _ => bail!("unknown side {side}"),
    };
    runtime.block_on(put_each(&client, warm, metered))?;
    region(|| runtime.block_on(put_each(&client, counted, metered)))
}

type Saves = SaveApi<Storage>;

fn saves(dynamo: &Dynamo) -> Saves {
    SaveApi::new(Storage::new(dynamo))
}

/// Saves these transfers, each in its own command.
async fn save_each(saves: &Saves, numbers: Range<u64>) -> Result<()> {
    let key = key(0);
    for number in numbers {
        let saved =
            saves.save(&key, Operation::<_, PreconditionFailed>::insert(Transfer::new(number))).await?;
        ensure!(matches!(saved, Outcome::Saved(_)), "a save returned {saved:?}");
    }
    Ok(())
}

/// Saves these transfers in one command.
async fn save_all(saves: &Saves, numbers: Range<u64>, stream: u64) -> Result<()> {
    let operations: Vec<_> =
        numbers.map(|number| Operation::<_, PreconditionFailed>::insert(Transfer::new(number))).collect();
    let saved = saves.save_all(&key(stream), &Context::default(), &operations).await?;
    ensure!(matches!(saved, Outcome::Saved(_)), "a save returned {saved:?}");
    Ok(())
}

/// Stores these transfers without eventsrc: without a decision, and with ready ids and times.
async fn put_each(client: &Client, numbers: Range<u64>, metered: bool) -> Result<()> {
    let key = key(0);
    for number in numbers {
        put(client, key.as_str(), number, metered).await?;
    }
    Ok(())
}

/// Stores one transfer as eventsrc does.
pub(crate) async fn put(client: &Client, stream: &str, number: u64, metered: bool) -> Result<()> {
    let id = account::id(number).0;
    let item = Item::from([
        ("k".into(), AttributeValue::S(stream.into())),
        ("n".into(), AttributeValue::N(number.to_string())),
        ("i".into(), AttributeValue::B(Blob::new(id.as_bytes().as_slice()))),
        ("t".into(), AttributeValue::N(by_hand::time(number).to_string())),
        ("p".into(), AttributeValue::S(serde_json::to_string(&[Transfer::new(number)])?)),
    ]);
    client
        .put_item()
        .table_name(EVENTS)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(k)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .set_return_consumed_capacity(metered.then_some(ReturnConsumedCapacity::Total))
        .send()
        .await?;
    Ok(())
}
