//! Tables that are reached through a faulty HTTP client.

use std::time::Duration;

use eventsrc_dynamo::Dynamo;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::Builder;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use eventsrc_test_servers as servers;

use super::FaultyHttp;
use crate::dynamo::config;

/// New tables in a database of their own, for several clients.
#[derive(Debug)]
pub struct FaultyTables {
    endpoint: String,
    access_key: String,
    without_faults: Dynamo,
}

impl FaultyTables {
    /// Tables in a database of the shared DynamoDB Local whose name begins with `name`.
    ///
    /// # Panics
    ///
    /// If they cannot be created.
    pub async fn new(name: &str) -> Self {
        let server = servers::dynamo().await;
        let (endpoint, access_key) = (server.endpoint(), server.access_key(name));
        let client = Client::from_conf(config(&endpoint, &access_key).build());
        let without_faults = Dynamo::new(client, "events");
        without_faults.create_tables().await.expect("tables can be created");
        Self { endpoint, access_key, without_faults }
    }

    /// The tables through a client without faults.
    pub fn without_faults(&self) -> &Dynamo {
        &self.without_faults
    }

    /// The tables through a client whose requests and replies go through `faulty`, and are retried according
    /// to `retries`.
    pub fn through(&self, faulty: &FaultyHttp, retries: RetryConfig) -> Dynamo {
        let config = self.config().http_client(faulty.clone()).retry_config(retries);
        Dynamo::new(Client::from_conf(config.build()), "events")
    }

    /// The configuration of a client with an unlimited retry budget. By default the clients of a process
    /// share one.
    pub fn config(&self) -> Builder {
        let own = RetryPartition::custom("own").token_bucket(TokenBucket::unlimited()).build();
        config(&self.endpoint, &self.access_key).retry_partition(own)
    }
}

/// The SDK's own three attempts, without its waits of up to a second.
pub fn quickly() -> RetryConfig {
    RetryConfig::standard().with_initial_backoff(Duration::from_millis(1))
}

/// One attempt.
pub fn once() -> RetryConfig {
    RetryConfig::disabled()
}
