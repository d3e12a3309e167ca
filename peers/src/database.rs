//! The server that all libraries share, and a new database for each piece of work.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use eventsrc_test_servers::{Postgres, PostgresSettings};
use sqlx::{Connection, PgConnection};

use crate::work::Totals;

/// The server. It acknowledges a commit only after the commit is on the disk.
pub(crate) struct Server(Postgres);

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self(
            Postgres::start_with(PostgresSettings { durable: true, ..PostgresSettings::default() }).await?,
        ))
    }

    /// Returns the version and the settings that affect a comparison, as the server reports them.
    pub(crate) async fn settings(&self) -> Result<String> {
        let mut connection = PgConnection::connect(&self.0.url()).await?;
        let mut settings = Vec::new();
        for name in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_level",
            "shared_buffers",
        ] {
            let value: String =
                sqlx::query_scalar(&format!("SHOW {name}")).fetch_one(&mut connection).await?;
            let durable = !["fsync", "synchronous_commit"].contains(&name) || value == "on";
            ensure!(durable, "{name} is {value}, so commits would not be durable");
            settings.push(format!("{name}={value}"));
        }
        Ok(settings.join(", "))
    }

    /// Returns the data folder of the server.
    pub(crate) fn folder(&self) -> PathBuf {
        self.0.data_folder()
    }

    /// Creates an empty database.
    pub(crate) async fn database(&self) -> Result<Database> {
        let url = self.0.database("peers").await;
        let connection = PgConnection::connect(&url).await?;
        Ok(Database { url, connection })
    }

    /// Removes the database, and closes its open connections.
    pub(crate) async fn remove(&self, database: Database) -> Result<()> {
        let (_, name) = database.url.rsplit_once('/').context("an address ends with a name")?;
        let mut connection = PgConnection::connect(&self.0.url()).await?;
        sqlx::query(&format!("DROP DATABASE {name} WITH (FORCE)")).execute(&mut connection).await?;
        Ok(())
    }
}

/// A database, with a connection that no library uses.
pub(crate) struct Database {
    pub(crate) url: String,
    connection: PgConnection,
}

impl Database {
    /// Finishes the server's background work for everything written so far, so that the measured work does not pay for it.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(statement).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Returns the number that `statement` selects.
    pub(crate) async fn number(&mut self, statement: &str) -> Result<u64> {
        let number: i64 = sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(number)?)
    }

    /// Returns the rows of `proj`.
    pub(crate) async fn projected(&mut self) -> Result<Totals> {
        let rows = sqlx::query_as("SELECT id, total FROM proj").fetch_all(&mut self.connection).await?;
        Ok(rows.into_iter().collect())
    }
}
