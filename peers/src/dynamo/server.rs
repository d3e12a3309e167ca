//! The shared DynamoDB Local, with a separate database for each library and piece of work.

use anyhow::Result;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_smithy_async::rt::sleep::default_async_sleep;
use eventsrc_test_servers::DynamoLocal;

use super::recorder::Recorder;

pub(super) struct Server(DynamoLocal);

impl Server {
    pub(super) async fn start() -> Result<Self> {
        Ok(Self(DynamoLocal::start().await?))
    }

    /// Creates a database without tables, and a client whose requests are recorded.
    pub(super) fn database(&self) -> Database {
        let recorder = Recorder::default();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(self.0.endpoint())
            .credentials_provider(Credentials::new(self.0.access_key("peers"), "secret", None, None, "peers"))
            // One of the libraries does not start without it.
            .sleep_impl(default_async_sleep().expect("the program runs on tokio"))
            .interceptor(recorder.clone());
        Database { client: Client::from_conf(config.build()), recorder }
    }
}

pub(super) struct Database {
    pub(super) client: Client,
    pub(super) recorder: Recorder,
}

/// A table with its name, its partition key (text), its sort key (number), and the name and sort key of its index.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) partition: &'static str,
    pub(super) sort: Option<&'static str>,
    pub(super) index: Option<(&'static str, &'static str)>,
}

impl Table {
    pub(super) async fn create(&self, client: &Client) -> Result<()> {
        let attribute =
            |name, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        let element = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let mut create = client
            .create_table()
            .table_name(self.name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute(self.partition, ScalarAttributeType::S)?)
            .key_schema(element(self.partition, KeyType::Hash)?);
        if let Some(sort) = self.sort {
            create = create
                .attribute_definitions(attribute(sort, ScalarAttributeType::N)?)
                .key_schema(element(sort, KeyType::Range)?);
        }
        if let Some((name, sort)) = self.index {
            let index = GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(element(self.partition, KeyType::Hash)?)
                .key_schema(element(sort, KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
            create = create
                .attribute_definitions(attribute(sort, ScalarAttributeType::N)?)
                .global_secondary_indexes(index.build()?);
        }
        create.send().await?;
        Ok(())
    }
}
