//! Benchmarks on a durable Postgres server of their own, compared with SQL by hand.

pub(crate) mod append;
pub(crate) mod catch_up;
mod generated;
pub(crate) mod hot_stream;
pub(crate) mod rebuild;
pub(crate) mod totals;
pub(crate) mod visible;

use anyhow::Result;
use eventsrc_test_servers::{Postgres as Server, PostgresSettings};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// A server that syncs its disk, and the runtime of its clients.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    server: Server,
}

impl Bench {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let settings = PostgresSettings { durable: true, ..PostgresSettings::default() };
        let server = runtime.block_on(Server::start_with(settings))?;
        Ok(Self { runtime, server })
    }

    /// Creates a database, and returns its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        self.runtime.block_on(self.server.database(name))
    }

    /// Opens a connection without eventsrc.
    pub(crate) fn client(&self, url: &str) -> Result<Client> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })
    }

    /// Runs `work` in a task, as a service does, and waits for it.
    pub(crate) fn task<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.runtime.block_on(self.runtime.spawn(work))?
    }

    /// Returns the number of transactions that have written so far. The server commits each with one sync of its disk.
    pub(crate) fn commits(&self, client: &Client) -> Result<i64> {
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        Ok(self.runtime.block_on(client.query_one(next, &[]))?.get(0))
    }
}
