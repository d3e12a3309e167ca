//! Errors in the wording of the service.

use aws_smithy_runtime_api::http::StatusCode;
use eventsrc_dynamo::aws_sdk_dynamodb::config::http::HttpResponse;
use serde_json::json;

/// An error reply of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    /// The namespace and the error's name in it.
    code: &'static str,
    message: &'static str,
    /// The operations that can get this reply; empty for all of them.
    operations: &'static [&'static str],
}

/// Any operation can get this reply.
const ANY: &[&str] = &[];

impl Answer {
    /// The service failed.
    pub const INTERNAL_ERROR: Self = Self {
        status: 500,
        code: "com.amazonaws.dynamodb.v20120810#InternalServerError",
        message: "The request processing has failed because of an unknown error, exception or failure.",
        operations: ANY,
    };

    /// The service is overloaded, or a part of it restarts.
    pub const UNAVAILABLE: Self = Self {
        status: 503,
        code: "com.amazon.coral.service#ServiceUnavailableException",
        message: "The service is temporarily unavailable.",
        operations: ANY,
    };

    /// The table has no capacity left.
    pub const THROTTLED: Self = Self {
        status: 400,
        code: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        message: "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
                  provisioning level with the UpdateTable API.",
        operations: ANY,
    };

    /// A table with on-demand capacity grows more slowly than its load.
    pub const RATE_EXCEEDED: Self = Self {
        status: 400,
        code: "com.amazon.coral.availability#ThrottlingException",
        message: "Rate of requests exceeds the allowed throughput.",
        operations: ANY,
    };

    /// The account has no capacity left.
    pub const ACCOUNT_LIMIT: Self = Self {
        status: 400,
        code: "com.amazonaws.dynamodb.v20120810#RequestLimitExceeded",
        message: "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at \
                  https://aws.amazon.com/support request a limit increase",
        operations: ANY,
    };

    /// Another caller's transaction on the item is in progress.
    pub const TRANSACTION_CONFLICT: Self = Self {
        status: 400,
        code: "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
        message: "Transaction is ongoing for the item",
        operations: ANY,
    };

    /// The request is invalid.
    pub const VALIDATION: Self = Self {
        status: 400,
        code: "com.amazon.coral.validate#ValidationException",
        message: "One or more parameter values were invalid: Type mismatch for key k expected: S actual: N",
        operations: ANY,
    };

    /// The access key does not exist.
    pub const UNRECOGNIZED_CLIENT: Self = Self {
        status: 400,
        code: "com.amazon.coral.service#UnrecognizedClientException",
        message: "The security token included in the request is invalid.",
        operations: ANY,
    };

    /// The temporary credentials have expired.
    pub const EXPIRED_TOKEN: Self = Self {
        status: 400,
        code: "com.amazon.coral.service#ExpiredTokenException",
        message: "The security token included in the request is expired",
        operations: ANY,
    };

    /// The secret does not match the access key.
    pub const INVALID_SIGNATURE: Self = Self {
        status: 400,
        code: "com.amazon.coral.service#InvalidSignatureException",
        message: "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                  Access Key and signing method. Consult the service documentation for details.",
        operations: ANY,
    };

    /// The permission is missing.
    pub const ACCESS_DENIED: Self = Self {
        status: 400,
        code: "com.amazon.coral.service#AccessDeniedException",
        message: "User: arn:aws:iam::123456789012:user/writer is not authorized to perform: dynamodb:PutItem on resource: \
                  arn:aws:dynamodb:eu-west-1:123456789012:table/events",
        operations: ANY,
    };

    /// Kinesis failed.
    pub const KINESIS_FAILURE: Self = Self {
        status: 500,
        code: "InternalFailure",
        message: "The request processing has failed because of an unknown error, exception or failure.",
        operations: ANY,
    };

    /// The throughput of the shard is exceeded.
    pub const SHARD_THROTTLED: Self = Self {
        status: 400,
        code: "ProvisionedThroughputExceededException",
        message: "Rate exceeded for shard shardId-000000000000 in stream events under account 123456789012.",
        operations: &["GetRecords", "GetShardIterator", "PutRecords"],
    };

    /// The request rate for a stream is exceeded by all its callers.
    pub const LIMIT_EXCEEDED: Self = Self {
        status: 400,
        code: "LimitExceededException",
        message: "Rate exceeded for stream events under account 123456789012.",
        operations: &["ListShards", "DescribeStreamSummary", "DescribeStream", "ListStreams"],
    };

    /// The iterator has expired.
    pub const EXPIRED_ITERATOR: Self = Self {
        status: 400,
        code: "ExpiredIteratorException",
        message: "Iterator expired. The iterator was created at time Sat Nov 21 12:00:00 UTC 2026 while right now it is \
                  Sat Nov 21 12:05:01 UTC 2026 which is further in the future than the tolerated delay of 300000 \
                  milliseconds.",
        operations: &["GetRecords"],
    };

    /// The error's name, without its namespace.
    pub fn name(self) -> &'static str {
        self.code.rsplit('#').next().unwrap_or(self.code)
    }

    /// True if a request of this operation can get this reply.
    pub(super) fn answers(self, operation: &str) -> bool {
        self.operations.is_empty() || self.operations.contains(&operation)
    }

    pub(super) fn response(self) -> HttpResponse {
        let body = json!({ "__type": self.code, "message": self.message }).to_string();
        let status = StatusCode::try_from(self.status).expect("all of them are statuses");
        let mut response = HttpResponse::new(status, body.into());
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        response
    }
}
