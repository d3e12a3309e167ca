//! Requests to the table of leases.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ReturnValue,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
};
use eventsrc_aws::service_error;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::lease::{Lease, NewLease};
use eventsrc_core::{ErrorKind, StorageError};
use eventsrc_dynamo::aws_sdk_dynamodb;

use super::layout::{self, Change, Item};

/// Wait between two requests for the status of a new table.
const STATUS_POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

/// Result of a conditional update.
pub(super) enum UpdateOutcome {
    /// The lease is updated; contains its new state.
    Updated(Lease),
    /// The condition failed; contains the current state of the lease.
    ConditionFailed(Lease),
    /// The lease does not exist.
    Missing,
}

impl Table {
    /// Creates the table if it does not exist, and waits until it is active.
    pub(super) async fn create(&self) -> Result<(), StorageError> {
        let complete = "all required fields are set";
        let key = AttributeDefinition::builder().attribute_name(layout::SHARD);
        let element = KeySchemaElement::builder().attribute_name(layout::SHARD).key_type(KeyType::Hash);
        let create = self
            .client
            .create_table()
            .table_name(&self.name)
            .attribute_definitions(key.attribute_type(ScalarAttributeType::S).build().expect(complete))
            .key_schema(element.build().expect(complete))
            .billing_mode(BillingMode::PayPerRequest);
        match create.send().await {
            Ok(_) => {}
            // The table exists already.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
            Err(error) => return Err(self.failure("create", error)),
        }
        loop {
            match self.client.describe_table().table_name(&self.name).send().await {
                Ok(described) => {
                    let status = described.table.and_then(|table| table.table_status);
                    if matches!(status, None | Some(TableStatus::Active | TableStatus::Updating)) {
                        return Ok(());
                    }
                }
                Err(error)
                    if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {}
                Err(error) => return Err(self.failure("describe", error)),
            }
            SystemClock.sleep(STATUS_POLL_INTERVAL).await;
        }
    }

    /// Reads all leases, in any order.
    pub(super) async fn leases(&self) -> Result<Vec<Lease>, StorageError> {
        let doing = "read the leases of";
        let mut leases = Vec::new();
        let mut from = None;
        loop {
            let scan = self.client.scan().table_name(&self.name).consistent_read(true);
            let page = scan.set_exclusive_start_key(from.take()).send().await;
            let page = page.map_err(|error| self.failure(doing, error))?;
            let items = page.items.ok_or_else(|| self.truncated(doing))?;
            for item in &items {
                leases.extend(self.lease(item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(leases);
            }
        }
    }

    /// Creates a lease, unless the shard has one.
    pub(super) async fn put(&self, new: &NewLease) -> Result<(), StorageError> {
        let put = self.client.put_item().table_name(&self.name);
        let put = put.set_item(Some(layout::new_item(new))).condition_expression(layout::IS_NEW);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(self.failure("create a lease in", error)),
        }
    }

    /// Removes the lease of a shard, if the shard has ended.
    pub(super) async fn remove(&self, shard: &str) -> Result<(), StorageError> {
        let (condition, values) = layout::has_ended();
        let delete = self.client.delete_item().table_name(&self.name).set_key(Some(layout::key(shard)));
        let delete = delete.condition_expression(condition).set_expression_attribute_values(Some(values));
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(self.failure("remove a lease from", error)),
        }
    }

    /// Updates the lease of a shard if the condition of `change` holds. `doing` is a clause such as "take a lease in".
    pub(super) async fn update(
        &self,
        doing: &str,
        shard: &str,
        change: Change,
    ) -> Result<UpdateOutcome, StorageError> {
        let Change { condition, update, values } = change;
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(layout::key(shard)))
            .condition_expression(condition)
            .update_expression(update)
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match update.send().await {
            Ok(updated) => {
                let item = updated.attributes.ok_or_else(|| self.truncated(doing))?;
                return Ok(self.lease(&item)?.map_or(UpdateOutcome::Missing, UpdateOutcome::Updated));
            }
            Err(error) => error,
        };
        if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
            let Some(item) = &failed.item else { return Ok(UpdateOutcome::Missing) };
            return Ok(self.lease(item)?.map_or(UpdateOutcome::Missing, UpdateOutcome::ConditionFailed));
        }
        Err(self.failure(doing, error))
    }

    fn lease(&self, item: &Item) -> Result<Option<Lease>, StorageError> {
        layout::lease(item).map_err(|error| {
            let shard = item.get(layout::SHARD).and_then(|shard| shard.as_s().ok());
            let shard = shard.map_or("without a shard", String::as_str);
            let what = format!("cannot read the lease {shard} in the table {}", self.name);
            StorageError::new(ErrorKind::Corrupt, what).because(error)
        })
    }

    fn failure<E>(&self, doing: &str, error: SdkError<E, HttpResponse>) -> StorageError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        service_error(&format!("cannot {doing} the table {}", self.name), error)
    }

    /// Returns the error of an answer in which a mandatory part is missing.
    fn truncated(&self, doing: &str) -> StorageError {
        let what = format!("cannot {doing} the table {}: the answer was cut off", self.name);
        StorageError::new(ErrorKind::Unavailable, what)
    }
}
