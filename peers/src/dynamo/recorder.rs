//! The requests and responses of a client, and their cost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use serde_json::Value;

use super::rules::{Stored, Units};

/// Requests and units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Spent {
    pub(super) requests: u64,
    /// By the service's rules.
    pub(super) by_rule: Units,
    /// As reported by the server.
    pub(super) reported: Units,
}

/// Adds up the cost of a client's requests. It supports one request at a time.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Operation and body of the request in flight.
    request: Option<(String, Value)>,
    stored: Stored,
    spent: Spent,
}

impl Recorder {
    /// Returns the cost since the last call.
    pub(super) fn take(&self) -> Spent {
        std::mem::take(&mut self.inner().spent)
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, response: &Value) -> Result<()> {
        let (operation, request) = self.request.take().context("there is no request in flight")?;
        let units = self.stored.units(&operation, &request, response)?;
        let Some(units) = units else { return Ok(()) };
        self.spent.requests += 1;
        self.spent.by_rule += units;
        let reported = match &response["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
            table => table["CapacityUnits"].as_f64().unwrap_or_default(),
        };
        self.spent.reported += if units.write > 0.0 {
            Units { write: reported, read: 0.0 }
        } else {
            Units { write: 0.0, read: reported }
        };
        Ok(())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    /// Requests the units from the server, also for a library that does not.
    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input_mut();
        let total = Some(ReturnConsumedCapacity::Total);
        if let Some(query) = input.downcast_mut::<QueryInput>() {
            query.return_consumed_capacity = total;
        } else if let Some(get) = input.downcast_mut::<BatchGetItemInput>() {
            get.return_consumed_capacity = total;
        } else if let Some(write) = input.downcast_mut::<TransactWriteItemsInput>() {
            write.return_consumed_capacity = total;
        }
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let target = request.headers().get("x-amz-target").context("the request has no target")?;
        let (_, operation) = target.split_once('.').context("the target names no operation")?;
        let body = serde_json::from_slice(request.body().bytes().context("the request has no body")?)?;
        self.inner().request = Some((operation.to_owned(), body));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().and_then(|response| response.body().bytes());
        let response = serde_json::from_slice(body.context("the request has no response")?)?;
        Ok(self.inner().record(&response)?)
    }
}
