//! A ledger in a Postgres database.

use eventsrc_core::view::{Batch, ViewError, ViewStore as _};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use eventsrc_postgres::{PostgresView, Transaction, View, tokio_postgres};

use super::{Entries, Ledger, definition};

/// The version of the ledger.
#[derive(Debug, Clone, Copy)]
pub struct PostgresLedger(pub u32);

impl View<StreamName, u64, i64> for PostgresLedger {
    fn definition(&self) -> ViewDefinition {
        definition(self.0)
    }

    fn tables(&self) -> &[&str] {
        &["entries", "totals"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        let version = self.0;
        // No constraint prevents a second row for a commit, so that the ledger shows one.
        transaction
            .batch_execute(&format!(
                "CREATE TABLE entries_v{version} (
                     stream text NOT NULL, first bigint NOT NULL, commit_id text NOT NULL
                 );
                 CREATE TABLE totals_v{version} (stream text PRIMARY KEY, total numeric NOT NULL)"
            ))
            .await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, i64>,
    ) -> Result<(), ViewError> {
        let version = self.0;
        let commits = batch.commits();
        let streams: Vec<&str> = commits.iter().map(|commit| commit.key.as_str()).collect();
        let firsts: Vec<i64> = commits.iter().map(|commit| commit.first as i64).collect();
        let ids: Vec<String> = commits.iter().map(|commit| commit.metadata.commit_id.to_string()).collect();
        let sums: Vec<i64> = commits.iter().map(|commit| commit.payloads.iter().sum()).collect();
        let enter = format!(
            "INSERT INTO entries_v{version} SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])"
        );
        transaction.execute(&transaction.prepare_cached(&enter).await?, &[&streams, &firsts, &ids]).await?;
        let add = format!(
            "INSERT INTO totals_v{version} AS totals
             SELECT stream, sum(amount) FROM unnest($1::text[], $2::bigint[]) AS given (stream, amount)
             GROUP BY stream ORDER BY stream
             ON CONFLICT (stream) DO UPDATE SET total = totals.total + excluded.total"
        );
        transaction.execute(&transaction.prepare_cached(&add).await?, &[&streams, &sums]).await?;
        Ok(())
    }
}

impl Ledger for PostgresView<StreamName, u64, i64, PostgresLedger> {
    async fn read_ledger(&self) -> Result<Entries, StorageError> {
        let version = self.definition().version();
        let read = move |transaction: Transaction| async move {
            let mut entries = Entries::default();
            // A heap does not keep the order of the rows. A commit that was entered twice shows all
            // the same. One that was entered too early is impossible: positions say that its
            // predecessor was applied.
            let sql = format!("SELECT stream, first, commit_id FROM entries_v{version} ORDER BY first");
            for row in transaction.query(&sql, &[]).await? {
                let commit = (row.get::<_, i64>(1).unsigned_abs(), row.get::<_, String>(2));
                let id = commit.1.parse().unwrap_or_default();
                entries.commits.entry(row.get(0)).or_default().push((commit.0, id));
            }
            let sql = format!("SELECT stream, total::bigint FROM totals_v{version}");
            for row in transaction.query(&sql, &[]).await? {
                entries.totals.insert(row.get(0), row.get(1));
            }
            Ok(entries)
        };
        Ok(self.read(&[], read).await?.1)
    }
}
