//! The requests that read events.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use eventsrc_core::StorageError;
use eventsrc_core::storage::Segment;

use crate::dynamo::Dynamo;
use crate::failure::{cut_off, failure};
use crate::item::Item;
use crate::layout;

/// Some items, and the key after which there may be more.
pub(crate) struct Items {
    pub(crate) items: Vec<Item>,
    pub(crate) more: Option<Item>,
}

/// The commit that begins at `number`, if there is one; whatever the settings say, as new as can be.
pub(crate) async fn commit(dynamo: &Dynamo, stream: &str, number: u64) -> Result<Option<Item>, StorageError> {
    let table = dynamo.events_table();
    dynamo.meter().request("get");
    let get = dynamo
        .client()
        .get_item()
        .table_name(table)
        .set_key(Some(layout::key(stream.to_owned(), number)))
        .consistent_read(true)
        .return_consumed_capacity(ReturnConsumedCapacity::Total);
    let got = get.send().await.map_err(|error| failure("read", table, error))?;
    dynamo.meter().read(got.consumed_capacity(), 1.0);
    if got.item.is_none() && got.consumed_capacity.is_none() {
        return Err(cut_off("read", table));
    }
    Ok(got.item)
}

/// The last commit of a stream, without its payloads.
pub(crate) async fn last(dynamo: &Dynamo, stream: &str) -> Result<Option<Item>, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::WHOLE);
    let query = query.projection_expression(layout::HEAD).scan_index_forward(false).limit(1);
    Ok(read(dynamo, query).await?.items.pop())
}

/// The last commit of a stream that begins at or before `number`.
pub(crate) async fn last_up_to(
    dynamo: &Dynamo,
    stream: &str,
    number: u64,
) -> Result<Option<Item>, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::UP_TO);
    let query = query.expression_attribute_values(":n", layout::n(number));
    Ok(read(dynamo, query.scan_index_forward(false).limit(1)).await?.items.pop())
}

/// Commits of a stream that begin at or after `number`, in order, going on after `after`.
pub(crate) async fn page(
    dynamo: &Dynamo,
    stream: &str,
    number: u64,
    after: Option<Item>,
) -> Result<Items, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::FROM);
    let query = query.expression_attribute_values(":n", layout::n(number));
    read(dynamo, query.set_exclusive_start_key(after)).await
}

/// Commits of the streams of `segment`, each stream in order, going on after `after`; without payloads if only `heads` are
/// asked for. A scan that has a rate to keep to has waited when this returns.
pub(crate) async fn segment_page(
    dynamo: &Dynamo,
    segment: Segment,
    heads: bool,
    after: Option<Item>,
) -> Result<Items, StorageError> {
    let table = dynamo.events_table();
    dynamo.meter().request("scan");
    let scan = dynamo
        .client()
        .scan()
        .table_name(table)
        .consistent_read(dynamo.settings().consistent_reads)
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .set_total_segments(i32::try_from(segment.total()).ok())
        .set_segment(i32::try_from(segment.index()).ok())
        .set_projection_expression(heads.then(|| layout::HEAD.to_owned()))
        .set_exclusive_start_key(after);
    let page = scan.send().await.map_err(|error| failure("scan", table, error))?;
    let units = dynamo.meter().read(page.consumed_capacity(), dynamo.settings().least_read_units());
    dynamo.pace(units).await;
    let mut items = page.items.ok_or_else(|| cut_off("scan", table))?;
    in_order(&mut items);
    Ok(Items { items, more: not_empty(page.last_evaluated_key) })
}

/// The service scans what has one partition key in the order of the sort key, but says so of queries only.
fn in_order(items: &mut [Item]) {
    for stream in items.chunk_by_mut(|item, next| layout::stream(item) == layout::stream(next)) {
        let number = |item: &Item| layout::number(item).unwrap_or_default();
        if !stream.is_sorted_by_key(number) {
            stream.sort_by_cached_key(number);
        }
    }
}

fn query(dynamo: &Dynamo, stream: &str) -> QueryFluentBuilder {
    dynamo
        .client()
        .query()
        .table_name(dynamo.events_table())
        .consistent_read(dynamo.settings().consistent_reads)
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .expression_attribute_values(":k", AttributeValue::S(stream.to_owned()))
}

async fn read(dynamo: &Dynamo, query: QueryFluentBuilder) -> Result<Items, StorageError> {
    dynamo.meter().request("query");
    let table = dynamo.events_table();
    let page = query.send().await.map_err(|error| failure("read", table, error))?;
    dynamo.meter().read(page.consumed_capacity(), dynamo.settings().least_read_units());
    // The SDK takes a body that was cut off before its first byte for an answer; a page of no items has an empty list.
    let items = page.items.ok_or_else(|| cut_off("read", table))?;
    Ok(Items { items, more: not_empty(page.last_evaluated_key) })
}

/// An empty key means the same as none: there is no more.
fn not_empty(key: Option<HashMap<String, AttributeValue>>) -> Option<Item> {
    key.filter(|key| !key.is_empty())
}
