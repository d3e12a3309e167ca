//! Clients and streams of a local Kinesis.

use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_kinesis::aws_sdk_kinesis::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use eventsrc_kinesis::aws_sdk_kinesis::types::StreamStatus;
use eventsrc_test_servers as servers;
use tokio::time::timeout;

use crate::HANG;

/// The configuration of a client of a Kinesis that checks no secret.
pub fn config(endpoint: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        // The default client loads all certificates that the machine trusts, which takes longer than most
        // tests.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
}

/// A client of the shared ferrokinesis.
pub async fn client() -> Client {
    Client::from_conf(config(&servers::kinesis().await.endpoint()).build())
}

/// A new stream of the shared ferrokinesis with this number of shards.
///
/// # Panics
///
/// If it cannot be created.
pub async fn stream(shards: i32) -> String {
    let name = servers::kinesis().await.stream_name("stream");
    create(&client().await, &name, shards).await;
    name
}

/// Creates a stream, and waits until it can be written to.
///
/// # Panics
///
/// If it cannot be created.
pub async fn create(client: &Client, name: &str, shards: i32) {
    let created = client.create_stream().stream_name(name).shard_count(shards).send().await;
    created.unwrap_or_else(|error| panic!("cannot create the stream {name}: {error:?}"));
    active(client, name).await;
}

/// Waits until no change of the shards of a stream is in progress.
///
/// # Panics
///
/// If it never is so.
pub async fn active(client: &Client, name: &str) {
    let becomes_active = async {
        loop {
            let answer = client.describe_stream_summary().stream_name(name).send().await;
            let answer =
                answer.unwrap_or_else(|error| panic!("cannot describe the stream {name}: {error:?}"));
            let summary = answer.stream_description_summary().expect("a description");
            if *summary.stream_status() == StreamStatus::Active {
                return;
            }
            SystemClock.sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(HANG, becomes_active).await.unwrap_or_else(|_| panic!("{name} does not become active"));
}
