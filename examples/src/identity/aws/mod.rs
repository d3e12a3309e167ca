//! On AWS: the streams in DynamoDB, and the way of their events through Kinesis to a view in Postgres.

mod bus;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use eventsrc_dynamo::aws_sdk_dynamodb::config::{Builder, ProvideCredentials};
use eventsrc_dynamo::{Dynamo, DynamoStorage, aws_sdk_dynamodb};
use eventsrc_kinesis::aws_sdk_kinesis;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams;

use super::events::{DirectoryEvent, GroupEvent, UserEvent};
use super::keys::{DirectoryKey, GroupId, UserId};
use super::storages::Streams;

pub(super) use bus::Bus;
pub(super) use parts::{Way, travel};

/// Streams in a table of DynamoDB.
pub type InDynamo = Streams<
    DynamoStorage<UserId, u64, UserEvent>,
    DynamoStorage<GroupId, u64, GroupEvent>,
    DynamoStorage<DirectoryKey, u64, DirectoryEvent>,
>;

impl InDynamo {
    /// In these tables, which may hold other streams as well.
    pub fn new(dynamo: &Dynamo) -> Self {
        Self {
            users: Arc::new(DynamoStorage::new(dynamo)),
            groups: Arc::new(DynamoStorage::new(dynamo)),
            directory: Arc::new(DynamoStorage::new(dynamo)),
        }
    }
}

/// Region, credentials and endpoints, from the configuration of the AWS SDK. Nothing is asked of a service.
pub(super) struct Aws(SdkConfig);

/// The SDK waits for ever by itself. What is not answered in time is sent again, and recognised if it was carried out.
const LONGEST_CALL: Duration = Duration::from_secs(5);

impl Aws {
    pub(super) async fn configured() -> Result<Self> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(LONGEST_CALL).build();
        let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await;
        ensure!(
            config.region().is_some(),
            "no AWS region is set: AWS_REGION names one, or the profile in ~/.aws/config"
        );
        if let Some(credentials) = config.credentials_provider() {
            let missing = "there are no AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are some, or a profile, or a role";
            credentials.provide_credentials().await.context(missing)?;
        }
        Ok(Self(config))
    }

    /// The table of events `table`. Where DynamoDB is, `endpoint` says before the configuration does.
    pub(super) fn tables(&self, table: &str, endpoint: Option<&str>) -> Result<Dynamo> {
        let is_plain = |(scheme, rest): (&str, &str)| {
            ["http", "https"].contains(&scheme) && !rest.is_empty() && !rest.contains('@')
        };
        ensure!(
            endpoint.is_none_or(|endpoint| endpoint.split_once("://").is_some_and(is_plain)),
            "an endpoint is a URL without a user, such as http://127.0.0.1:8000"
        );
        let mut config = Builder::from(&self.0);
        // Not of all services, of which credentials may need some.
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Dynamo::new(aws_sdk_dynamodb::Client::from_conf(config.build()), table))
    }

    fn dynamo(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.0)
    }

    fn dynamo_streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.0)
    }

    fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.0)
    }
}
