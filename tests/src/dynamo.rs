//! Clients of a local DynamoDB.

use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use eventsrc_dynamo::{Dynamo, Settings};
use eventsrc_test_servers as servers;

/// The configuration of a client with this access key, at a DynamoDB that checks no secret.
pub fn config(endpoint: &str, access_key: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        // The default client loads all certificates that the machine trusts, which takes longer than most
        // tests.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(access_key, "secret", None, None, "tests"))
}

/// A client of a database of its own, of the shared DynamoDB Local.
pub async fn client(name: &str) -> Client {
    let server = servers::dynamo().await;
    Client::from_conf(config(&server.endpoint(), &server.access_key(name)).build())
}

/// New tables in a database of their own.
///
/// # Panics
///
/// If they cannot be created.
pub async fn tables(name: &str) -> Dynamo {
    tables_with(name, Settings::default()).await
}

/// New tables with these settings.
///
/// # Panics
///
/// If they cannot be created.
pub async fn tables_with(name: &str, settings: Settings) -> Dynamo {
    let dynamo = Dynamo::with(client(name).await, "events", settings);
    dynamo.create_tables().await.expect("tables can be created");
    dynamo
}
