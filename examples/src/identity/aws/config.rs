//! The configuration of the AWS SDK, and the clients that use it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use eventsrc_dynamo::aws_sdk_dynamodb::config::{Builder, ProvideCredentials};
use eventsrc_dynamo::{Dynamo, aws_sdk_dynamodb};
use eventsrc_kinesis::aws_sdk_kinesis;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams;

/// Region, credentials and endpoints from the configuration of the AWS SDK. Loading it sends no request to a service.
pub(in super::super) struct AwsConfig(SdkConfig);

/// Timeout of one attempt of a call. The SDK has none by default. A call without an answer is sent again, and
/// recognised if it had an effect.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl AwsConfig {
    pub(in super::super) async fn load() -> Result<Self> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(CALL_TIMEOUT).build();
        let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await;
        ensure!(
            config.region().is_some(),
            "no AWS region is set; set AWS_REGION, or the region of a profile in ~/.aws/config"
        );
        if let Some(credentials) = config.credentials_provider() {
            let missing = "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a profile or a role";
            credentials.provide_credentials().await.context(missing)?;
        }
        Ok(Self(config))
    }

    /// Returns the table of events `table`. `endpoint` takes precedence over the endpoint of the configuration.
    pub(in super::super) fn tables(&self, table: &str, endpoint: Option<&str>) -> Result<Dynamo> {
        let is_plain = |(scheme, rest): (&str, &str)| {
            ["http", "https"].contains(&scheme) && !rest.is_empty() && !rest.contains('@')
        };
        ensure!(
            endpoint.is_none_or(|endpoint| endpoint.split_once("://").is_some_and(is_plain)),
            "--endpoint must be a URL without a user, such as http://127.0.0.1:8000"
        );
        let mut config = Builder::from(&self.0);
        // Set only for DynamoDB, because loading credentials may use other services.
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Dynamo::new(aws_sdk_dynamodb::Client::from_conf(config.build()), table))
    }

    pub(super) fn dynamo(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.0)
    }

    pub(super) fn dynamo_streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.0)
    }

    pub(super) fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.0)
    }
}
