//! Benchmarks on DynamoDB Local, AWS's own server for tests, compared with raw calls of the same SDK.
//!
//! Times there are mostly those of the server, so the benchmarks compare the work and the cost of the client:
//! instructions, requests and capacity units.

mod by_hand;
pub(crate) mod command;
pub(crate) mod load;
pub(crate) mod scan;

use std::sync::Arc;

use anyhow::{Result, bail};
use aws_smithy_http_client::Builder as Http;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{EventStorage, StreamName};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_test_servers::DynamoLocal;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::account;

/// A server, and the runtime of its clients.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    server: DynamoLocal,
}

impl Bench {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let server = runtime.block_on(DynamoLocal::start())?;
        Ok(Self { runtime, server })
    }

    /// Returns a database without tables.
    pub(crate) fn database(&self) -> Database {
        Database { endpoint: self.server.endpoint(), access_key: self.server.access_key("bench") }
    }
}

/// Location of a database. A child receives it in its arguments.
pub(crate) struct Database {
    pub(crate) endpoint: String,
    pub(crate) access_key: String,
}

impl Database {
    /// Returns a client. It uses one connection as long as it sends one request at a time.
    pub(crate) fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new(&self.access_key, "secret", None, None, "benches"))
            .http_client(Http::new().build_http());
        Client::from_conf(config.build())
    }

    /// Returns the tables of eventsrc, and creates them if they do not exist.
    pub(crate) async fn tables(&self) -> Result<Dynamo> {
        let dynamo = Dynamo::new(self.client(), EVENTS);
        dynamo.create_tables().await?;
        Ok(dynamo)
    }
}

/// Name of eventsrc's table of events.
pub(crate) const EVENTS: &str = "events";

pub(crate) type Storage<C = Json> = DynamoStorage<StreamName, u64, Transfer, C>;

/// The event: 300 bytes as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) amount: i64,
    from: String,
    to: String,
    reference: String,
    text: String,
}

impl Transfer {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            amount: 10_000 + (number % 90_000) as i64,
            from: "DE89370400440532013000".into(),
            to: "GB29NWBK60161331926819".into(),
            reference: format!("invoice {number:010} of the analytical engine"),
            text:
                "The engine weaves algebraical patterns just as the Jacquard loom weaves flowers and leaves; \
                   for the cards, their punching, and two years' oil of the mill."
                    .into(),
        }
    }
}

/// Value of the fold of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) transfers: u64,
    pub(crate) amount: i64,
}

impl Sums {
    /// Adds one transfer. Both sides of a benchmark compile this step.
    #[inline]
    pub(crate) fn add(&mut self, transfer: &Transfer) {
        self.transfers += 1;
        self.amount += transfer.amount;
    }

    /// Returns the sums of the transfers from 1 to `last`.
    pub(crate) fn up_to(last: u64) -> Self {
        let mut sums = Self::default();
        (1..=last).for_each(|number| sums.add(&Transfer::new(number)));
        sums
    }
}

/// Returns the key of a stream of transfers.
pub(crate) fn key(stream: u64) -> StreamName {
    StreamName::new("account", &format!("DE89370400440532{stream:06}")).expect("the name is well-formed")
}

/// Stores the transfers from 1 to `last` in the stream `key`, in commits of `size` events.
pub(crate) async fn store<C: Codec<Transfer>>(
    storage: &Storage<C>,
    key: &StreamName,
    last: u64,
    size: u64,
) -> Result<()> {
    let commits = (1..=last).step_by(size as usize).map(|first| {
        let transfers = (first..=last.min(first + size - 1)).map(Transfer::new).collect();
        Vec1::try_from_vec(transfers).map(|transfers| account::commit(key.clone(), first, transfers))
    });
    stream::iter(commits)
        .map(|commit| async {
            match storage.put(Arc::new(commit?)).await? {
                Put::Stored => Ok(()),
                other => bail!("a put to a stream with one writer returned {other:?}"),
            }
        })
        .buffered(AHEAD)
        .try_for_each(async |()| Ok(()))
        .await
}

/// Number of concurrent requests while a table is filled.
pub(crate) const AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_takes_300_bytes() {
        for number in [0, 1, 89_999, 90_000, 1_234_567] {
            assert_eq!(serde_json::to_string(&Transfer::new(number)).unwrap().len(), 300);
        }
    }
}
