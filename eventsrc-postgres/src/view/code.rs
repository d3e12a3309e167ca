//! Calls of a view's code.

use std::panic::AssertUnwindSafe;

use eventsrc_core::backend::error_from_panic;
use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError};
use futures::FutureExt;

/// Runs `code`, and returns a panic as an error.
pub(super) async fn catch_panic<T>(code: impl Future<Output = Result<T, ViewError>>) -> Result<T, ViewError> {
    AssertUnwindSafe(code).catch_unwind().await.unwrap_or_else(|panic| Err(error_from_panic(&*panic)))
}

/// Error of code that ended the transaction of the library.
pub(super) fn ended_transaction_error() -> StorageError {
    StorageError::new(ErrorKind::Invalid, "the code of a view must not end its transaction")
}
