//! Errors of requests to a table.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use eventsrc_aws::service_error;
use eventsrc_core::{ErrorKind, StorageError};

/// Returns the error of a request whose answer lacks a mandatory part. `what` is a verb such as "read".
pub(crate) fn truncated(what: &str, table: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Unavailable,
        format!("cannot {what} the table {table}: the answer was cut off"),
    )
}

/// Returns the error of a request that failed. `what` is a verb such as "read".
pub(crate) fn failure<E>(what: &str, table: &str, error: SdkError<E, HttpResponse>) -> StorageError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let detail = match &error {
        SdkError::TimeoutError(_) => ": the service did not answer in time",
        _ => "",
    };
    service_error(&format!("cannot {what} the table {table}{detail}"), error)
}
