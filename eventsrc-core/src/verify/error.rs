//! Error of a verification.

use crate::storage::StorageError;
use crate::stream::StreamName;
use crate::view::{ViewDefinition, ViewError};

/// Error of [`verify`](super::verify). Nothing is known about the rows; the verification can be run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The view's code rejects a commit that the view has applied.
    #[error("cannot verify {view}: its code rejects a commit of {stream} that the view has applied")]
    Rejected {
        /// Name and version of the view.
        view: ViewDefinition,
        /// Stream of the commit.
        stream: StreamName,
        /// Error of the view's code.
        source: ViewError,
    },
    /// The event storage or the view's database failed, or the scratch version cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
