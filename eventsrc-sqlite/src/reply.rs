//! The answer to a caller that waits for the writer thread.

use tokio::sync::oneshot;

use crate::failure::Failure;

/// Channel to the caller of a job. Sending has no effect if the caller no longer waits.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;
