//! Benchmarks on ferrokinesis, a Kinesis for tests, beside raw calls of the same SDK.

mod alone;
mod by_hand;
pub(crate) mod delay;
pub(crate) mod leases;
pub(crate) mod path;
pub(crate) mod read;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_smithy_http_client::Builder as Http;
use eventsrc_core::StreamName;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::codec::Json;
use eventsrc_core::commit::Vec1;
use eventsrc_core::feed::Change;
use eventsrc_core::lease::LeaseStore;
use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_kinesis::aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use eventsrc_kinesis::aws_sdk_kinesis::types::StreamStatus;
use eventsrc_kinesis::{
    Consumer, ConsumerHandle, ConsumerSettings, Envelope, KinesisStream, PollingSettings, Publisher,
    PublisherSettings,
};
use eventsrc_test_servers::Ferrokinesis;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::account;
use crate::dynamo::{Transfer, key};

/// A server, and the runtime of its clients.
struct Bench {
    runtime: Runtime,
    server: Ferrokinesis,
}

impl Bench {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let server = runtime.block_on(Ferrokinesis::start())?;
        Ok(Self { runtime, server })
    }

    /// A new stream, of so many shards.
    fn stream(&self, shards: i32) -> Result<Stream> {
        let stream = Stream::at(&self.server.endpoint(), &self.server.stream_name("bench"));
        self.runtime.block_on(stream.create(shards))?;
        Ok(stream)
    }
}

/// Where a stream is; a child is told it by its arguments.
#[derive(Debug, Clone)]
struct Stream {
    endpoint: String,
    name: String,
    client: Client,
}

impl Stream {
    fn at(endpoint: &str, name: &str) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("benches", "secret", None, None, "benches"))
            .http_client(Http::new().build_http());
        let client = Client::from_conf(config.build());
        Self { endpoint: endpoint.into(), name: name.into(), client }
    }

    async fn create(&self, shards: i32) -> Result<()> {
        self.client.create_stream().stream_name(&self.name).shard_count(shards).send().await?;
        until(async || {
            let answer = self.client.describe_stream_summary().stream_name(&self.name).send().await?;
            let summary = answer.stream_description_summary.context("there is a description")?;
            Ok(summary.stream_status == StreamStatus::Active)
        })
        .await
    }

    /// What puts commits onto it, each in a record of its own, or several in one.
    fn publisher(&self, aggregates: bool) -> Publisher<StreamName, u64, Transfer, Json> {
        let defaults = PublisherSettings::default();
        let settings = PublisherSettings { aggregate: defaults.aggregate.filter(|_| aggregates), ..defaults };
        Publisher::with(self.client.clone(), &self.name, Json, settings)
    }

    async fn consumer(&self, leases: impl LeaseStore, polling: PollingSettings) -> Result<Feed> {
        let source = KinesisStream::with(self.client.clone(), &self.name, polling);
        let feed = Consumer::start(source, leases, Envelope::new(), ConsumerSettings::default()).await?;
        Ok(feed)
    }
}

/// A consumer of transfers.
type Feed = Consumer<StreamName, u64, Transfer>;

/// The transfer of this number, as a commit that was put onto one of [`STREAMS`] streams of events.
fn change(number: u64) -> Result<Change<StreamName, u64, Transfer>> {
    let payloads = Vec1::new(Transfer::new(number));
    Ok(Change::Commit(Arc::new(account::commit(key(number % STREAMS), number, payloads))))
}

/// As many as a call has records, since no call has two of one stream of events.
const STREAMS: u64 = 500;

/// Waits until a consumer reads so many shards.
async fn reads(handle: &ConsumerHandle, shards: usize) -> Result<()> {
    until(async || Ok(handle.status().shards.len() == shards)).await
}

/// Waits until `is_so`, for a minute at most.
async fn until(mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let becomes_so = async {
        while !is_so().await? {
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(60), becomes_so).await.context("it takes more than a minute")?
}

/// The same wait from call to call, whatever comes, and none of the limits of the service.
fn every(wait: Duration) -> PollingSettings {
    PollingSettings {
        shortest_wait: wait,
        longest_wait: wait,
        bytes_per_second: u64::MAX,
        // Under valgrind everything takes its time.
        call_timeout: Duration::from_secs(300),
        ..PollingSettings::default()
    }
}
