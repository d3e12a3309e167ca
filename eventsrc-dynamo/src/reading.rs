//! Requests that read events.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use eventsrc_core::StorageError;
use eventsrc_core::storage::Segment;

use crate::dynamo::Dynamo;
use crate::failure::{failure, truncated};
use crate::item::Item;
use crate::layout;

/// A page of items.
pub(crate) struct ItemPage {
    pub(crate) items: Vec<Item>,
    /// Key after which the next page begins; `None` on the last page.
    pub(crate) more: Option<Item>,
}

/// Reads the commit that begins at `number`, if it exists. The read is strongly consistent with any setting.
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
    let got = dynamo.answer(get.send()).await.map_err(|error| failure("read", table, error))?;
    dynamo.meter().read(got.consumed_capacity(), 1.0);
    if got.item.is_none() && got.consumed_capacity.is_none() {
        return Err(truncated("read", table));
    }
    Ok(got.item)
}

/// Reads the last commit of a stream, without its payloads.
pub(crate) async fn last(dynamo: &Dynamo, stream: &str) -> Result<Option<Item>, StorageError> {
    Ok(recent(dynamo, stream, 1, None).await?.items.pop())
}

/// Reads a page of at most `count` commits of a stream, without their payloads, newest first. It begins after the key `after`.
/// `count` must not be 0.
pub(crate) async fn recent(
    dynamo: &Dynamo,
    stream: &str,
    count: usize,
    after: Option<Item>,
) -> Result<ItemPage, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::WHOLE);
    let query = query.projection_expression(layout::HEAD).scan_index_forward(false);
    let query = query.limit(i32::try_from(count).unwrap_or(i32::MAX)).set_exclusive_start_key(after);
    read(dynamo, query).await
}

/// Reads the last commit of a stream that begins at or before `number`.
pub(crate) async fn last_up_to(
    dynamo: &Dynamo,
    stream: &str,
    number: u64,
) -> Result<Option<Item>, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::UP_TO);
    let query = query.expression_attribute_values(":n", layout::n(number));
    Ok(read(dynamo, query.scan_index_forward(false).limit(1)).await?.items.pop())
}

/// Reads the last commit of a stream that begins at or before `number`, without its payloads. The read is strongly consistent
/// with any setting.
pub(crate) async fn head_up_to(
    dynamo: &Dynamo,
    stream: &str,
    number: u64,
) -> Result<Option<Item>, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::UP_TO);
    let query = query.expression_attribute_values(":n", layout::n(number)).consistent_read(true);
    let query = query.projection_expression(layout::HEAD).scan_index_forward(false).limit(1);
    Ok(read(dynamo, query).await?.items.pop())
}

/// Reads a page of the commits of a stream that begin at or after `number`, in order. It begins after the key `after`.
pub(crate) async fn page(
    dynamo: &Dynamo,
    stream: &str,
    number: u64,
    after: Option<Item>,
) -> Result<ItemPage, StorageError> {
    let query = query(dynamo, stream).key_condition_expression(layout::FROM);
    let query = query.expression_attribute_values(":n", layout::n(number));
    read(dynamo, query.set_exclusive_start_key(after)).await
}

/// Reads a page of the commits in `segment`, each stream in order. It begins after the key `after`, and omits payloads if
/// `heads` is true. It returns after the wait that the rate limit of scans requires.
pub(crate) async fn segment_page(
    dynamo: &Dynamo,
    segment: Segment,
    heads: bool,
    after: Option<Item>,
) -> Result<ItemPage, StorageError> {
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
    let page = dynamo.answer(scan.send()).await.map_err(|error| failure("scan", table, error))?;
    let units = dynamo.meter().read(page.consumed_capacity(), dynamo.settings().min_read_units());
    dynamo.limit_scans(units).await;
    let mut items = page.items.ok_or_else(|| truncated("scan", table))?;
    sort_streams(&mut items);
    Ok(ItemPage { items, more: not_empty(page.last_evaluated_key) })
}

/// Sorts the items of each stream by number. The service scans items of one partition in this order, but guarantees the order
/// only for queries.
fn sort_streams(items: &mut [Item]) {
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

async fn read(dynamo: &Dynamo, query: QueryFluentBuilder) -> Result<ItemPage, StorageError> {
    dynamo.meter().request("query");
    let table = dynamo.events_table();
    let min_units = if *query.get_consistent_read() == Some(true) { 1.0 } else { 0.5 };
    let page = dynamo.answer(query.send()).await.map_err(|error| failure("read", table, error))?;
    dynamo.meter().read(page.consumed_capacity(), min_units);
    // The SDK accepts a body that was cut off before its first byte. An empty page has an empty list of items.
    let items = page.items.ok_or_else(|| truncated("read", table))?;
    Ok(ItemPage { items, more: not_empty(page.last_evaluated_key) })
}

/// Treats an empty key as `None`: there are no more items.
fn not_empty(key: Option<HashMap<String, AttributeValue>>) -> Option<Item> {
    key.filter(|key| !key.is_empty())
}
