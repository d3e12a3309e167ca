//! A schema of Postgres, whose tables are copied.

use anyhow::Result;
use eventsrc_core::StreamName;
use eventsrc_postgres::tokio_postgres::{self, Client, NoTls};
use eventsrc_postgres::{Postgres, PostgresStorage};
use eventsrc_test_servers as servers;
use futures::FutureExt;

use super::Restorable;

/// A schema of Postgres. A backup is a copy of its tables in another schema. For a restore, the schema is dropped and
/// created again, while the connections of the writers stay open.
pub(in crate::restored_store) struct PostgresSchema {
    url: String,
    postgres: Postgres,
    admin: Client,
}

impl PostgresSchema {
    /// Executes a statement for each table of `schema`. It has the name of the table in place of `{table}`.
    async fn for_each_table(&self, schema: &str, statement: &str) -> Result<()> {
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1";
        for row in self.admin.query(tables, &[&schema]).await? {
            self.admin.batch_execute(&statement.replace("{table}", row.get(0))).await?;
        }
        Ok(())
    }
}

impl Restorable for PostgresSchema {
    type Storage = PostgresStorage<StreamName, u64, u64>;

    async fn new() -> Result<Self> {
        let url = servers::postgres().await.database("restored").await;
        let postgres = Postgres::connect(&url).await?;
        let (admin, connection) = tokio_postgres::connect(&url, NoTls).await?;
        // If the connection fails, the next statement of the client fails.
        tokio::spawn(connection.map(drop));
        Ok(Self { url, postgres, admin })
    }

    fn handles(&self) -> Vec<Self::Storage> {
        vec![PostgresStorage::new(&self.postgres)]
    }

    async fn new_handle(&self) -> Result<Self::Storage> {
        Ok(PostgresStorage::new(&Postgres::connect(&self.url).await?))
    }

    async fn back_up(&mut self) -> Result<()> {
        self.admin.batch_execute("CREATE SCHEMA backup").await?;
        self.for_each_table("eventsrc", "CREATE TABLE backup.{table} AS TABLE eventsrc.{table}").await
    }

    async fn restore(&mut self) -> Result<()> {
        self.admin.batch_execute("DROP SCHEMA eventsrc CASCADE").await?;
        // It creates the tables.
        Postgres::connect(&self.url).await?;
        // Without triggers, which refuse that rows are deleted.
        self.admin.batch_execute("SET session_replication_role = replica").await?;
        let copy = "DELETE FROM eventsrc.{table};
                    INSERT INTO eventsrc.{table} OVERRIDING SYSTEM VALUE SELECT * FROM backup.{table}";
        self.for_each_table("backup", copy).await
    }
}
