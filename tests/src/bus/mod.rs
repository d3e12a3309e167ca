//! The complete path of an event: DynamoDB, its stream, Kinesis, and a ledger in Postgres.

mod clients;
mod destination;
mod disorder;
mod kills;
mod native;
mod reader;
mod reads;
mod reshard;
mod worker;

use std::time::Duration;

use anyhow::{Context as _, Result};
use eventsrc_core::codec::Json;
use eventsrc_core::lease::LeaseStore;
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{StorageError, StreamName};
use eventsrc_dynamo::{Dynamo, DynamoStorage, ItemDecoder};
use eventsrc_kinesis::dynamodb::{DynamoStream, StreamRecords};
use eventsrc_kinesis::{Consumer, ConsumerSettings, Envelope, KinesisStream, PollingSettings, Publisher};
use eventsrc_postgres::{Postgres, PostgresLeases, PostgresView};
use eventsrc_test_servers::{self as servers, Ferrokinesis};

use crate::kinesis;
use crate::ledgers::PostgresLedger;

pub use clients::BusFaults;
pub use destination::PartitionKeys;
pub use disorder::DisorderCounts;
pub use kills::{Interruptions, KillReport, survive_kills};
pub use native::{ConvergenceReport, converge};
pub use reads::{ReadBack, read_back};
pub use reshard::{merge, split};
pub use worker::{Part, WorkerReport, work};

/// The ledger at the end of the path.
pub type LedgerView = PostgresView<StreamName, u64, i64, PostgresLedger>;

/// A consumer of one of the two streams.
pub type BusConsumer = Consumer<StreamName, u64, i64>;

/// Addresses of all stores and streams of the path.
#[derive(Debug, Clone)]
pub struct Bus {
    /// The endpoint of DynamoDB and of its streams.
    pub dynamo: String,
    /// The access key, which selects the tables.
    pub access_key: String,
    /// The endpoint of Kinesis.
    pub kinesis: String,
    /// The stream of Kinesis.
    pub stream: String,
    /// The address of the Postgres database.
    pub database: String,
    /// Faults on the way to the services of AWS, if any.
    pub faults: Option<BusFaults>,
}

impl Bus {
    /// New tables, a new stream with `shards` shards, and a new database of the shared servers.
    ///
    /// # Errors
    ///
    /// If they cannot be created.
    pub async fn new(shards: i32) -> Result<Self> {
        Self::on(servers::kinesis().await, shards).await
    }

    /// New tables, a new stream of this server, and a new database.
    ///
    /// # Errors
    ///
    /// If they cannot be created.
    pub async fn on(server: &Ferrokinesis, shards: i32) -> Result<Self> {
        let local = servers::dynamo().await;
        let bus = Self {
            dynamo: local.endpoint(),
            access_key: local.access_key("bus"),
            kinesis: server.endpoint(),
            stream: server.stream_name("bus"),
            database: servers::postgres().await.database("bus").await,
            faults: None,
        };
        kinesis::create(&bus.kinesis_client(), &bus.stream, shards).await;
        bus.tables().create_tables().await?;
        Ok(bus)
    }

    /// The same bus, reached through these faults.
    #[must_use]
    pub fn through(self, faults: BusFaults) -> Self {
        Self { faults: Some(faults), ..self }
    }

    /// The tables.
    pub fn tables(&self) -> Dynamo {
        Dynamo::new(self.dynamo_client(), TABLE)
    }

    /// The event storage.
    pub fn storage(&self) -> DynamoStorage<StreamName, u64, i64> {
        DynamoStorage::new(&self.tables())
    }

    /// The leases of one group.
    ///
    /// # Errors
    ///
    /// If the database is unavailable.
    pub async fn leases(&self, group: &str) -> Result<PostgresLeases> {
        Ok(PostgresLeases::new(&Postgres::connect(&self.database).await?, group))
    }

    /// The ledger.
    ///
    /// # Errors
    ///
    /// If the database is unavailable.
    pub async fn view(&self) -> Result<LedgerView> {
        let postgres = Postgres::connect(&self.database).await?;
        Ok(PostgresView::open(&postgres, PostgresLedger(1)).await?)
    }

    /// The feed of the bridge, as a worker of the group of `leases`.
    ///
    /// # Errors
    ///
    /// If the stream of the table cannot be read.
    pub async fn changes_of_the_table(
        &self,
        leases: impl LeaseStore,
        settings: ConsumerSettings,
    ) -> Result<BusConsumer, StorageError> {
        let source = DynamoStream::of_table(self.streams_client(), TABLE).await?.polled(polling());
        source.check().await?;
        let decoder = StreamRecords::new(ItemDecoder::<StreamName, u64, i64>::new());
        Consumer::start(source, leases, decoder, settings).await
    }

    /// The feed of the views, as a worker of the group of `leases`.
    ///
    /// # Errors
    ///
    /// If the stream cannot be read.
    pub async fn changes_on_kinesis(
        &self,
        leases: impl LeaseStore,
        settings: ConsumerSettings,
    ) -> Result<BusConsumer, StorageError> {
        let source = KinesisStream::with(self.kinesis_client(), &self.stream, polling());
        source.check().await?;
        Consumer::start(source, leases, Envelope::<StreamName, u64, i64>::new(), settings).await
    }

    /// The publisher to the Kinesis stream.
    pub fn publisher(&self) -> Publisher<StreamName, u64, i64, Json> {
        Publisher::new(self.kinesis_client(), &self.stream, Json)
    }

    /// Five texts that [`parse`](Self::parse) reads.
    pub fn arguments(&self) -> [&str; 5] {
        [&self.dynamo, &self.access_key, &self.kinesis, &self.stream, &self.database]
    }

    /// The bus described by [`arguments`](Self::arguments).
    ///
    /// # Errors
    ///
    /// If there are too few arguments.
    pub fn parse(arguments: &mut impl Iterator<Item = String>) -> Result<Self> {
        let mut next = || arguments.next().context("the bus takes five arguments");
        Ok(Self {
            dynamo: next()?,
            access_key: next()?,
            kinesis: next()?,
            stream: next()?,
            database: next()?,
            faults: None,
        })
    }
}

/// Settings with a short expiry, so that the leases of killed workers are taken over during a test.
pub fn quick() -> ConsumerSettings {
    ConsumerSettings {
        expiry: Duration::from_millis(600),
        handover: Duration::from_secs(2),
        discover_every: Duration::from_secs(2),
        ..ConsumerSettings::default()
    }
}

/// Polling without the limits of AWS, which a local server does not have.
fn polling() -> PollingSettings {
    PollingSettings {
        shortest_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(80),
        bytes_per_second: u64::MAX,
        retry: BackoffSettings { longest_wait: Duration::from_millis(100), ..BackoffSettings::default() },
        ..PollingSettings::default()
    }
}

const TABLE: &str = "events";
