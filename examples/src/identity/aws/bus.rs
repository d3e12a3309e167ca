//! The path of an event from the DynamoDB table to the view.

use eventsrc_core::codec::RawCodec;
use eventsrc_core::{StorageError, StreamName};
use eventsrc_dynamo::ItemDecoder;
use eventsrc_kinesis::dynamodb::{Bridge, DynamoStream, LeaseTable};
use eventsrc_kinesis::record::EitherDecoder;
use eventsrc_kinesis::{Consumer, ConsumerEnvironment, ConsumerSettings, Envelope, KinesisStream, Publisher};
use eventsrc_postgres::{Postgres, PostgresLeases};

use super::config::AwsConfig;
use crate::identity::events::{GroupEvent, UserEvent};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::views::{FollowedEvent, FollowedKey};

/// The DynamoDB stream of a table, and a Kinesis stream.
pub(super) struct Bus<'a> {
    pub(super) aws: &'a AwsConfig,
    pub(super) table: &'a str,
    pub(super) stream: &'a str,
}

/// Number of shards of a new Kinesis stream.
const SHARDS: u32 = 4;

impl Bus<'_> {
    /// Starts to copy the commits of the table to the Kinesis stream, which is created if it does not exist. Several
    /// bridges share the work by leases.
    pub(super) async fn bridge(&self) -> Result<Bridge, StorageError> {
        let leases = LeaseTable::new(self.aws.dynamo(), &format!("{}-bridge", self.table));
        leases.create_table().await?;
        self.kinesis_stream().create(SHARDS).await?;
        let source = DynamoStream::of_table(self.aws.dynamo_streams(), self.table).await?;
        // The bridge copies all streams of the table and does not decode payloads.
        let decoder = ItemDecoder::<StreamName, u64, _, RawCodec>::with_codec(RawCodec::TEXT);
        let publisher = Publisher::new(self.aws.kinesis(), self.stream, RawCodec::TEXT);
        let (settings, environment) = (ConsumerSettings::default(), ConsumerEnvironment::default());
        Bridge::start(source, leases, decoder, publisher, settings, environment).await
    }

    /// Starts a consumer of the users and groups on the Kinesis stream. It shares the shards with the other processes
    /// that keep the view in `postgres`.
    pub(super) async fn consumer(
        &self,
        postgres: &Postgres,
    ) -> Result<Consumer<FollowedKey, u64, FollowedEvent>, StorageError> {
        let source = self.kinesis_stream();
        source.create(SHARDS).await?;
        source.check().await?;
        let leases = PostgresLeases::new(postgres, &format!("identity from {}", self.stream));
        let users = Envelope::<UserId, u64, UserEvent, _>::with_codec(UserEvent::codec());
        let groups = Envelope::<GroupId, u64, GroupEvent>::new();
        let decoder = EitherDecoder::new(users, groups);
        Consumer::start(source, leases, decoder, ConsumerSettings::default()).await
    }

    fn kinesis_stream(&self) -> KinesisStream {
        KinesisStream::new(self.aws.kinesis(), self.stream)
    }
}
