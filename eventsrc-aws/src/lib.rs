#![doc = include_str!("../README.md")]

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use eventsrc_core::{ErrorKind, StorageError};

/// Converts an error of the AWS SDK to a [`StorageError`].
///
/// `what` is a clause such as "cannot read the stream orders". The text of the error is `what` with the error code of the
/// service, if there is one. The SDK error is its source. The kind is:
///
/// - `Unavailable` for a transient error, such as throttling, a timeout or a truncated answer;
/// - `Invalid` for a request that the service rejects as malformed;
/// - `Refused` for a missing table, stream, region, permission or valid credentials.
pub fn service_error<E>(what: &str, error: SdkError<E, HttpResponse>) -> StorageError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let kind = kind(&error);
    let what = match error.code() {
        Some(code) => format!("{what}: {code}"),
        None => what.to_owned(),
    };
    StorageError::new(kind, what).because(error)
}

fn kind<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> ErrorKind {
    match error {
        // The request could not be built: no region or no endpoint.
        SdkError::ConstructionFailure(_) => ErrorKind::Refused,
        // A failure with a kind of its own is transient; for example, a connection that was closed in the middle of a reply.
        SdkError::DispatchFailure(failure)
            if failure.is_timeout() || failure.is_io() || failure.as_other().is_some() =>
        {
            ErrorKind::Unavailable
        }
        // No credentials, a malformed endpoint, or an untrusted certificate.
        SdkError::DispatchFailure(_) => ErrorKind::Refused,
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            service.err().code().map_or_else(|| without_code(status), |code| by_code(code, status))
        }
        // No answer, or a truncated one.
        _ => ErrorKind::Unavailable,
    }
}

fn by_code(code: &str, status: u16) -> ErrorKind {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "TransactionConflictException"
        | "ReplicatedWriteConflictException"
        | "InternalFailureException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "ResourceInUseException" => ErrorKind::Unavailable,
        "ValidationException"
        | "SerializationException"
        | "ItemCollectionSizeLimitExceededException"
        | "InvalidArgumentException" => ErrorKind::Invalid,
        _ => by_status(status),
    }
}

/// Kind of an error without a code. Every error of the service has a code, so the answer is truncated or from a proxy.
fn without_code(status: u16) -> ErrorKind {
    match status {
        200..300 | 400 => ErrorKind::Unavailable,
        _ => by_status(status),
    }
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        429 | 500.. => ErrorKind::Unavailable,
        // A missing table, expired credentials, or a missing permission.
        _ => ErrorKind::Refused,
    }
}
