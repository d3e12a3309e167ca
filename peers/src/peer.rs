//! What every library has to do here.

use anyhow::Result;
use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::work::Work;

/// A library that takes part.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// The package whose version is reported.
    pub(crate) package: &'static str,
    /// How it is used, in a few words.
    pub(crate) about: &'static str,
    /// Whether it has this piece of work, and not just the same way as another contestant.
    pub(crate) takes_part: fn(Work) -> bool,
    /// The fewest events that its projection is measured with, so that this takes no less than a moment.
    pub(crate) least_projected: u64,
    /// Sets it up in an empty database.
    pub(crate) open: fn(url: String) -> LocalBoxFuture<'static, Result<Box<dyn Peer>>>,
}

/// The library at work in one database.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Loads the stream, and appends one event to it; says how many tries were in vain.
    async fn command(&self, stream: &str, entry: Entry) -> Result<u64>;

    /// Appends these events by whatever is quickest. What is measured begins after it.
    async fn fill(&self, stream: &str, entries: Vec<Entry>) -> Result<()>;

    /// Loads the stream, which is there.
    async fn load(&self, stream: &str) -> Result<Account>;

    /// Brings all events into the table `proj`, those that are stored and those that come, until told to stop. The table
    /// is there once it listens.
    async fn project(&self, run: Run) -> Result<()>;

    /// The statement that counts the stored events.
    fn count(&self) -> &'static str;
}

/// How the two sides of a running projection tell each other.
#[derive(Clone, Default)]
pub(crate) struct Run {
    /// Set by the projection once no event that is stored from here on can be missed, or be taken twice, as the
    /// library is meant to be used.
    pub(crate) listening: CancellationToken,
    /// Set when it shall end.
    pub(crate) stop: CancellationToken,
}

/// What is stored: the payload of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) amount: i64,
    pub(crate) note: String,
}

/// What a stream is folded into.
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

/// How many connections each library may open: as many as there are tasks, and some for its projection.
pub(crate) const CONNECTIONS: u32 = 40;

/// The table of a projection: the sum of each stream.
pub(crate) const TABLE: &str = "CREATE TABLE proj (id text PRIMARY KEY, total bigint NOT NULL)";

/// Adds an event to its row, as a handler of one event does it.
pub(crate) const UPSERT: &str = "INSERT INTO proj (id, total) VALUES ($1, $2) \
     ON CONFLICT (id) DO UPDATE SET total = proj.total + excluded.total";
