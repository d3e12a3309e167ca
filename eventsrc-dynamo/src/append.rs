//! The one function that writes events.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use eventsrc_core::StorageError;

use crate::cost::{size, write_units};
use crate::dynamo::Dynamo;
use crate::failure::failure;
use crate::item::Item;
use crate::layout::ABSENT;

/// What became of a put.
pub(crate) enum Appended {
    Stored,
    /// Another item has the key, and was left as it is; not every implementation of the service gives it back.
    Taken(Option<Item>),
}

/// Stores `item`, of so many bytes, if its key is free. No other request of this crate writes to the table of events.
pub(crate) async fn append(dynamo: &Dynamo, item: Item, bytes: usize) -> Result<Appended, StorageError> {
    let table = dynamo.events_table();
    dynamo.meter().request("put");
    let put = dynamo
        .client()
        .put_item()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(ABSENT)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .return_consumed_capacity(ReturnConsumedCapacity::Total);
    match put.send().await {
        Ok(put) => {
            dynamo.meter().write(put.consumed_capacity(), write_units(bytes));
            Ok(Appended::Stored)
        }
        Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
            let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                unreachable!("it was asked for")
            };
            let taken = failed.item;
            // A put that fails is charged for the larger of the two items.
            let charged = taken.as_ref().map_or(bytes, |item| size(item).max(bytes));
            dynamo.meter().write(None, write_units(charged));
            Ok(Appended::Taken(taken))
        }
        Err(error) => Err(failure("put into", table, error)),
    }
}
