//! Errors of AWS services as errors of a storage, for the crates of eventsrc that call AWS.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use eventsrc_core::{ErrorKind, StorageError};

/// What an AWS service, or the way to it, did not do, as an error of a storage: `what` is a clause such as "cannot read the
/// stream orders". The error says the service's own code, if there is one, and keeps its source.
///
/// It is `Unavailable` for what may go well another time, such as throttling; `Invalid` for what the service does not
/// understand; and `Refused` for a missing table or stream, credentials, region or permission.
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
        // The request could not be made: no region, no endpoint.
        SdkError::ConstructionFailure(_) => ErrorKind::Refused,
        // What has a kind of its own is worth another try: a connection that was closed in the middle of the reply, say.
        SdkError::DispatchFailure(failure)
            if failure.is_timeout() || failure.is_io() || failure.as_other().is_some() =>
        {
            ErrorKind::Unavailable
        }
        // No credentials, a malformed endpoint, a certificate that is not trusted.
        SdkError::DispatchFailure(_) => ErrorKind::Refused,
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            service.err().code().map_or_else(|| without_code(status), |code| by_code(code, status))
        }
        // No answer, or one that was cut off.
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

/// Every refusal of the service has a code, so this answer was cut off, or somebody else gave it.
fn without_code(status: u16) -> ErrorKind {
    match status {
        200..300 | 400 => ErrorKind::Unavailable,
        _ => by_status(status),
    }
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        429 | 500.. => ErrorKind::Unavailable,
        // A missing table, expired credentials, a permission that is not there.
        _ => ErrorKind::Refused,
    }
}
