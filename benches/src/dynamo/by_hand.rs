//! A program without eventsrc: it stores one item per event, with attribute names as short as those of eventsrc.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ReturnConsumedCapacity,
    ScalarAttributeType, TransactWriteItem,
};

use super::Transfer;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Name of the table of these items.
pub(super) const TABLE: &str = "by-hand";

/// Creates the table.
pub(super) async fn create(client: &Client) -> Result<()> {
    let attribute =
        |name, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let element = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(attribute("k", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("n", ScalarAttributeType::N)?)
        .key_schema(element("k", KeyType::Hash)?)
        .key_schema(element("n", KeyType::Range)?)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await?;
    Ok(())
}

/// Returns the item of a transfer, with four attributes: stream, number, time and payload.
fn item(stream: &str, number: u64) -> Result<Item> {
    Ok(Item::from([
        ("k".into(), AttributeValue::S(stream.into())),
        ("n".into(), AttributeValue::N(number.to_string())),
        ("t".into(), AttributeValue::N(time(number).to_string())),
        ("p".into(), AttributeValue::S(serde_json::to_string(&Transfer::new(number))?)),
    ]))
}

/// Returns a time in microseconds since 1970.
pub(super) fn time(number: u64) -> u64 {
    1_700_000_000_000_000 + number
}

/// Stores these transfers in one transaction, and returns its write units.
pub(super) async fn transact(client: &Client, stream: &str, first: u64, count: u64) -> Result<f64> {
    let mut units = 0.0;
    let mut writes = Vec::new();
    for number in first..first + count {
        let item = item(stream, number)?;
        // DynamoDB Local reports two units for any number of items; the service charges two per KB of each item.
        units += 2.0 * size(&item).div_ceil(1024) as f64;
        let put = Put::builder().table_name(TABLE).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(k)").build()?;
        writes.push(TransactWriteItem::builder().put(put).build());
    }
    client.transact_write_items().set_transact_items(Some(writes)).send().await?;
    Ok(units)
}

/// Reads a stream of a table, passes each payload to `apply`, and returns the read units.
pub(super) async fn load(
    client: &Client,
    table: &str,
    stream: &str,
    mut apply: impl FnMut(&str) -> Result<()>,
) -> Result<f64> {
    let page = client
        .query()
        .table_name(table)
        .consistent_read(true)
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .key_condition_expression("k = :k")
        .expression_attribute_values(":k", AttributeValue::S(stream.into()))
        .send()
        .await?;
    for item in page.items() {
        apply(item.get("p").and_then(|payload| payload.as_s().ok()).context("the item has no payload")?)?;
    }
    ensure!(page.last_evaluated_key.is_none(), "the stream does not fit into one page");
    page.consumed_capacity
        .and_then(|capacity| capacity.capacity_units)
        .context("the response has no capacity units")
}

/// Returns the size of an item by the rule of the service: names and values; a number takes one byte per two digits, plus
/// one byte.
fn size(item: &Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.trim_end_matches('0').len().div_ceil(2) + 1,
        _ => unreachable!("all attributes are texts or numbers"),
    };
    item.iter().map(|(name, of)| name.len() + value(of)).sum()
}
