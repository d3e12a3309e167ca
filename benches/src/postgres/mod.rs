//! Postgres: a durable server of the benchmark's own, and the tables that a program without eventsrc would have.

pub(crate) mod append;
pub(crate) mod catch_up;
pub(crate) mod rebuild;
pub(crate) mod totals;
pub(crate) mod visible;

use anyhow::{Context, Result};
use eventsrc_testkit::servers::{Postgres as Server, PostgresSettings};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

/// A server that syncs, and the runtime of its clients.
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

    /// A fresh database.
    pub(crate) fn database(&self, name: &str) -> String {
        self.runtime.block_on(self.server.database(name))
    }

    /// A connection without eventsrc.
    pub(crate) fn client(&self, url: &str) -> Result<Client> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })
    }

    /// How often the server has synced its log to the disk so far.
    pub(crate) fn syncs(&self, client: &Client) -> Result<i64> {
        let row = self
            .runtime
            .block_on(async {
                // What other sessions counted is seen once they report it, at the latest when they are idle for a second.
                client
                    .batch_execute("SELECT pg_stat_force_next_flush(); SELECT pg_stat_clear_snapshot()")
                    .await?;
                client.query_one("SELECT wal_sync FROM pg_stat_wal", &[]).await
            })
            .context("the server counts its syncs")?;
        Ok(row.get(0))
    }
}
