//! Errors of calls to a table.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use eventsrc_aws::service_error;
use eventsrc_core::{ErrorKind, StorageError};

/// The error of a call that was to do `what` with `table`, and of whose answer a part that is always there was missing.
pub(crate) fn cut_off(what: &str, table: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Unavailable,
        format!("cannot {what} the table {table}: the answer was cut off"),
    )
}

/// The error of a call that was to do `what` with `table`.
pub(crate) fn failure<E>(what: &str, table: &str, error: SdkError<E, HttpResponse>) -> StorageError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    service_error(&format!("cannot {what} the table {table}"), error)
}
