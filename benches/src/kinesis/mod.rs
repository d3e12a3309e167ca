//! Benchmarks on ferrokinesis, a Kinesis server for tests, compared with raw calls of the same SDK.

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

    /// Creates a stream with this number of shards.
    fn stream(&self, shards: i32) -> Result<Stream> {
        let stream = Stream::at(&self.server.endpoint(), &self.server.stream_name("bench"));
        self.runtime.block_on(stream.create(shards))?;
        Ok(stream)
    }
}

/// Location of a stream. A child receives it in its arguments.
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
            let summary = answer.stream_description_summary.context("the response has no description")?;
            Ok(summary.stream_status == StreamStatus::Active)
        })
        .await
    }

    /// Returns a publisher of commits, with one commit per record or with aggregated records.
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

/// Returns the transfer of this number as a commit of one of [`STREAMS`] event streams.
fn change(number: u64) -> Result<Change<StreamName, u64, Transfer>> {
    let payloads = Vec1::new(Transfer::new(number));
    Ok(Change::Commit(Arc::new(account::commit(key(number % STREAMS), number, payloads))))
}

/// Number of event streams: the number of records of a call, because a call has at most one record per event stream.
const STREAMS: u64 = 500;

/// Waits until a consumer reads this number of shards.
async fn reads(handle: &ConsumerHandle, shards: usize) -> Result<()> {
    until(async || Ok(handle.status().shards.len() == shards)).await
}

/// Waits until `condition` is true, for at most a minute.
async fn until(mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let polling = async {
        while !condition().await? {
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(60), polling).await.context("a wait took more than a minute")?
}

/// Settings with a fixed poll interval and without the limits of the service.
fn every(wait: Duration) -> PollingSettings {
    PollingSettings {
        shortest_wait: wait,
        longest_wait: wait,
        bytes_per_second: u64::MAX,
        // Calls are slow under valgrind.
        call_timeout: Duration::from_secs(300),
        ..PollingSettings::default()
    }
}
