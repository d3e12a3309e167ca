//! The local servers, and the configuration of their clients.

use anyhow::Result;
use eventsrc_dynamo::aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use eventsrc_dynamo::{Dynamo, aws_sdk_dynamodb};
use eventsrc_kinesis::aws_sdk_kinesis;
use eventsrc_test_servers::{DynamoLocal, Ferrokinesis, Postgres};

use crate::identity::InDynamo;

/// Local servers, which end with this process.
pub(super) struct LocalServers {
    pub(super) dynamo: DynamoLocal,
    pub(super) kinesis: Ferrokinesis,
    postgres: Postgres,
    /// URL of the database of the view.
    pub(super) views: String,
    /// Access key of the tables. DynamoDB Local keeps separate tables for each access key.
    access_key: String,
}

/// The servers do not verify signatures, but the SDK needs a secret to sign.
const SECRET: &str = "local";

const REGION: &str = "eu-west-1";

impl LocalServers {
    pub(super) async fn start() -> Result<Self> {
        let (dynamo, kinesis, postgres) =
            tokio::try_join!(DynamoLocal::start(), Ferrokinesis::start(), Postgres::start())?;
        let (views, access_key) = (postgres.database("identity").await, dynamo.access_key("demo"));
        Ok(Self { dynamo, kinesis, postgres, views, access_key })
    }

    /// Returns the address at which Postgres listens.
    pub(super) fn postgres(&self) -> std::net::SocketAddr {
        self.postgres.address()
    }

    /// Returns the configuration of the AWS SDK for a program, as environment variables. Nothing else differs from AWS.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamo.endpoint()),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", self.dynamo.endpoint()),
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.endpoint()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
            ("AWS_REGION", REGION.into()),
            // The user may have a configuration of their own.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
        ]
    }

    /// Returns the streams, for this process.
    pub(super) fn streams(&self) -> InDynamo {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(self.credentials())
            .endpoint_url(self.dynamo.endpoint());
        InDynamo::new(&Dynamo::new(aws_sdk_dynamodb::Client::from_conf(config.build()), "identity"))
    }

    /// Returns a client of Kinesis, for this process.
    pub(super) fn kinesis_client(&self) -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(self.credentials())
            .endpoint_url(self.kinesis.endpoint());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key, SECRET, None, None, "demo-aws")
    }
}
