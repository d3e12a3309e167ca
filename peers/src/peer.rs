//! The interface that each library implements.

use anyhow::Result;
use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::work::Work;

/// A library in the comparison.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// Package whose version is reported.
    pub(crate) package: &'static str,
    /// Description of its use, in a few words.
    pub(crate) about: &'static str,
    /// True if the library takes part in a piece of work, and does it differently from its other entries.
    pub(crate) takes_part: fn(Work) -> bool,
    /// Minimum number of events of its projection, so that the measurement is not too short.
    pub(crate) least_projected: u64,
    /// Sets the library up in an empty database.
    pub(crate) open: fn(url: String) -> LocalBoxFuture<'static, Result<Box<dyn Peer>>>,
}

/// A library in one database.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Loads the stream, appends one event to it, and returns the number of failed attempts.
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64>;

    /// Appends these events in the fastest way. The measurement begins after it.
    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()>;

    /// Loads an existing stream.
    async fn load(&self, stream: &str) -> Result<Account>;

    /// Applies all stored and new events to the table `proj` until `run.stop`. The table exists once `run.listening` is set.
    async fn project(&self, run: Run) -> Result<()>;

    /// Returns the statement that counts the stored events.
    fn count(&self) -> &'static str;
}

/// Signals between a running projection and its caller.
#[derive(Clone, Default)]
pub(crate) struct Run {
    /// Set by the projection once it will neither miss nor repeat an event that is stored from then on, as far as the
    /// library promises.
    pub(crate) listening: CancellationToken,
    /// Set by the caller to end the projection.
    pub(crate) stop: CancellationToken,
}

/// Payload of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) amount: i64,
    pub(crate) note: String,
}

/// Value of the fold of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) events: u64,
    pub(crate) total: i64,
}

impl Account {
    pub(crate) fn apply(&mut self, amount: i64) {
        self.events += 1;
        self.total += amount;
    }
}

/// Maximum number of connections of each library: one for each task, and some for its projection.
pub(crate) const CONNECTIONS: u32 = 40;

/// Table of a projection, with the sum of each stream.
pub(crate) const TABLE: &str = "CREATE TABLE proj (id text PRIMARY KEY, total bigint NOT NULL)";

/// Statement that adds one event to its row.
pub(crate) const UPSERT: &str = "INSERT INTO proj (id, total) VALUES ($1, $2) \
     ON CONFLICT (id) DO UPDATE SET total = proj.total + excluded.total";
