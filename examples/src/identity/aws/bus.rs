//! The way of an event from the table to the view.

use eventsrc_core::codec::RawCodec;
use eventsrc_core::{StorageError, StreamName};
use eventsrc_dynamo::ItemDecoder;
use eventsrc_kinesis::dynamodb::{Bridge, DynamoStream, LeaseTable};
use eventsrc_kinesis::record::EitherDecoder;
use eventsrc_kinesis::{Consumer, ConsumerEnvironment, ConsumerSettings, Envelope, KinesisStream, Publisher};
use eventsrc_postgres::{Postgres, PostgresLeases};

use super::Aws;
use crate::identity::events::{GroupEvent, UserEvent};
use crate::identity::keys::{GroupId, UserId};
use crate::identity::views::{FollowedEvent, FollowedKey};

/// The stream of a table, and a stream of Kinesis.
pub(in super::super) struct Bus<'a> {
    pub(super) aws: &'a Aws,
    pub(super) table: &'a str,
    pub(super) stream: &'a str,
}

/// How many shards a stream gets that is made here.
const SHARDS: u32 = 4;

impl Bus<'_> {
    /// Begins to carry what is stored in the table onto the stream, which is made if it is not there, beside others who do so.
    pub(super) async fn bridge(&self) -> Result<Bridge, StorageError> {
        let leases = LeaseTable::new(self.aws.dynamo(), &format!("{}-bridge", self.table));
        leases.create_table().await?;
        self.stream().create(SHARDS).await?;
        let source = DynamoStream::of_table(self.aws.dynamo_streams(), self.table).await?;
        // It carries all streams of the table, and has no need to know what is in them.
        let images = ItemDecoder::<StreamName, u64, _, RawCodec>::with_codec(RawCodec::TEXT);
        let publisher = Publisher::new(self.aws.kinesis(), self.stream, RawCodec::TEXT);
        let (settings, environment) = (ConsumerSettings::default(), ConsumerEnvironment::default());
        Bridge::start(source, leases, images, publisher, settings, environment).await
    }

    /// What the stream says of users and groups, shared with others who keep the view in `postgres`.
    pub(super) async fn changes(
        &self,
        postgres: &Postgres,
    ) -> Result<Consumer<FollowedKey, u64, FollowedEvent>, StorageError> {
        let source = self.stream();
        source.create(SHARDS).await?;
        source.check().await?;
        let leases = PostgresLeases::new(postgres, &format!("identity from {}", self.stream));
        let users = Envelope::<UserId, u64, UserEvent>::new();
        let groups = Envelope::<GroupId, u64, GroupEvent>::new();
        let decoder = EitherDecoder::new(users, groups);
        Consumer::start(source, leases, decoder, ConsumerSettings::default()).await
    }

    fn stream(&self) -> KinesisStream {
        KinesisStream::new(self.aws.kinesis(), self.stream)
    }
}
