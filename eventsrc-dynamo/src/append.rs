//! The conditional put: the only function of this crate that writes events.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use eventsrc_core::StorageError;

use crate::cost::{size, write_units};
use crate::dynamo::Dynamo;
use crate::failure::failure;
use crate::item::Item;
use crate::layout::ABSENT;

/// Result of a conditional put.
pub(crate) enum AppendOutcome {
    Stored,
    /// The key has an item, which is unchanged. Some implementations of the service do not return it.
    Occupied(Option<Item>),
}

/// Stores `item`, whose size is `bytes`, if its key is free. No other request of this crate writes to the table of events.
pub(crate) async fn append(dynamo: &Dynamo, item: Item, bytes: usize) -> Result<AppendOutcome, StorageError> {
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
    match dynamo.answer(put.send()).await {
        Ok(put) => {
            dynamo.meter().write(put.consumed_capacity(), write_units(bytes));
            Ok(AppendOutcome::Stored)
        }
        Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
            let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                unreachable!("the guard has checked the variant")
            };
            let existing = failed.item;
            // A put whose condition fails is charged for the larger of the two items.
            let charged = existing.as_ref().map_or(bytes, |item| size(item).max(bytes));
            dynamo.meter().write(None, write_units(charged));
            Ok(AppendOutcome::Occupied(existing))
        }
        Err(error) => Err(failure("put into", table, error)),
    }
}
