//! A view in Postgres that is read with a token: the balance of each account as a row.
//!
//! `cargo run --example postgres-view -- postgres://user:password@localhost/database`

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{Operation, SaveApi, StreamName, Synchronizer, ViewDefinition};
use eventsrc_postgres::{Postgres, PostgresStorage, PostgresView, Transaction, View, tokio_postgres};

/// Balances by account.
struct Balances;

impl View<StreamName, u64, i64> for Balances {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("balances", ["account"]).expect("the name is well-formed")
    }

    fn tables(&self) -> &[&str] {
        &["balances"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute("CREATE TABLE balances_v1 (account text PRIMARY KEY, balance bigint)").await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, i64>,
    ) -> Result<(), ViewError> {
        let (accounts, amounts): (Vec<_>, Vec<_>) =
            batch.events().map(|event| (event.key().id(), *event.payload)).unzip();
        let add = "INSERT INTO balances_v1
                   SELECT account, sum(amount) FROM unnest($1::text[], $2::bigint[]) AS new (account, amount)
                   GROUP BY account ORDER BY account
                   ON CONFLICT (account) DO UPDATE SET balance = balances_v1.balance + excluded.balance";
        let add = transaction.prepare_cached(add).await?;
        transaction.execute(&add, &[&accounts, &amounts]).await?;
        Ok(())
    }
}

pub(crate) async fn run(url: &str) -> Result<()> {
    let postgres = Postgres::connect(url).await?;
    let storage: PostgresStorage<StreamName, u64, i64> = PostgresStorage::new(&postgres);
    let view = PostgresView::open(&postgres, Balances).await?;
    let balances = Synchronizer::start(storage.clone(), view.clone(), SynchronizerSettings::default());

    let ada: StreamName = "account/ada".parse()?;
    let saved =
        SaveApi::new(storage).save(&ada, Operation::insert(40)).await?.saved().context("no conflict")?;
    let read = |streams: Arc<[StreamName]>| {
        let view = view.clone();
        async move {
            let query = |transaction: Transaction| async move {
                // A read that comes too early is repeated, so the row may be missing at first.
                let find = "SELECT coalesce(sum(balance), 0)::bigint FROM balances WHERE account = 'ada'";
                transaction.query_one(find, &[]).await?.try_get::<_, i64>(0)
            };
            view.read(&streams, query).await
        }
    };
    // The row has the deposit, although no feed has delivered it.
    let balance = balances.at_least(&saved.token, Duration::from_secs(60), read).await?;
    println!("the balance of ada is {balance}");
    ensure!(balance >= 40, "the read is at least as new as the token");
    balances.stop().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    run(&std::env::args().nth(1).context("the first argument is the URL of a Postgres database")?).await
}
