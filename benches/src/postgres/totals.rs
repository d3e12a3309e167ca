//! The view of the benchmarks: a total for each account, kept by eventsrc and by hand.

use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::commit::Vec1;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery};
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{Commit, CommitId, Metadata, StorageError, StreamName, Timestamp, ViewDefinition};
use eventsrc_postgres::{Transaction, View, each};
use tokio_postgres::Client;
use uuid::Uuid;

pub(crate) type Deposit = Commit<StreamName, u64, i64>;

/// Number of accounts, and of rows.
pub(crate) const ACCOUNTS: u64 = 1_000;

/// Number of events in a transaction.
pub(crate) const EVENTS_PER_BATCH: u64 = 50_000;

/// Returns page `index`, the deposits of one transaction: the accounts take turns, and each deposit is a commit.
pub(crate) fn page(index: u64) -> Vec<Arc<Deposit>> {
    let start = index * EVENTS_PER_BATCH;
    (start..start + EVENTS_PER_BATCH).map(|number| Arc::new(deposit(number))).collect()
}

pub(crate) fn deposit(number: u64) -> Deposit {
    Deposit {
        key: account(number % ACCOUNTS),
        first: number / ACCOUNTS + 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(number.into()))),
        payloads: Vec1::new((number % 97) as i64).into(),
    }
}

pub(crate) fn account(number: u64) -> StreamName {
    StreamName::new("account", &number.to_string()).expect("the name is well-formed")
}

/// Returns the statement for a batch, which both sides run.
pub(crate) fn add_all(table: &str) -> String {
    format!(
        "INSERT INTO {table} (id, total, deposits)
         SELECT id, sum(amount), count(*) FROM unnest($1::text[], $2::bigint[]) AS given (id, amount) GROUP BY id ORDER BY id
         ON CONFLICT (id) DO UPDATE
         SET total = {table}.total + excluded.total, deposits = {table}.deposits + excluded.deposits"
    )
}

/// Returns the statement for one event.
pub(crate) fn add_one(table: &str) -> String {
    format!(
        "INSERT INTO {table} (id, total, deposits) VALUES ($1, $2, 1)
         ON CONFLICT (id) DO UPDATE SET total = {table}.total + excluded.total, deposits = {table}.deposits + 1"
    )
}

pub(crate) fn table(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (id text COLLATE \"C\" PRIMARY KEY, total bigint NOT NULL, deposits bigint NOT NULL)"
    )
}

/// The view. It applies a batch with one statement, or with one statement per event if `each` is true.
pub(crate) struct Totals {
    pub(crate) each: bool,
    pub(crate) version: u32,
}

impl Totals {
    fn table(&self) -> String {
        format!("totals_v{}", self.version)
    }
}

impl View<StreamName, u64, i64> for Totals {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("totals", ["account"]).expect("the name is well-formed").at_version(self.version)
    }

    fn tables(&self) -> &[&str] {
        &["totals"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute(&table(&self.table())).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, i64>,
    ) -> Result<(), ViewError> {
        if self.each {
            let add = &transaction.prepare_cached(&add_one(&self.table())).await?;
            return each(batch, |event| async move {
                transaction.execute(add, &[&event.key().id(), event.payload]).await?;
                Ok(())
            })
            .await;
        }
        let add = transaction.prepare_cached(&add_all(&self.table())).await?;
        let (ids, amounts): (Vec<&str>, Vec<i64>) =
            batch.events().map(|event| (event.key().id(), *event.payload)).unzip();
        transaction.execute(&add, &[&ids, &amounts]).await?;
        Ok(())
    }
}

/// A feed of pages.
pub(crate) struct Pages(pub(crate) std::vec::IntoIter<Vec<Arc<Deposit>>>);

impl ChangeFeed for Pages {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    async fn next(&mut self) -> Result<Option<Delivery<StreamName, u64, i64>>, StorageError> {
        Ok(self.0.next().map(|page| Delivery {
            changes: page.into_iter().map(Change::Commit).collect(),
            acknowledgement: Acknowledgement::none(),
        }))
    }
}

/// A program without eventsrc that keeps the same rows exactly once. It has one position for all events, which each
/// transaction compares and moves.
pub(crate) struct ByHand {
    client: Client,
    add_all: tokio_postgres::Statement,
    add_one: tokio_postgres::Statement,
    advance: tokio_postgres::Statement,
    position: i64,
}

impl ByHand {
    /// Creates the tables and the first program.
    pub(crate) async fn create(client: Client) -> Result<Self> {
        client.batch_execute(&table("totals")).await?;
        client
            .batch_execute("CREATE TABLE positions (name text PRIMARY KEY, position bigint NOT NULL)")
            .await?;
        Self::another(client, "totals").await
    }

    /// Creates another program that keeps other rows of the same table with its own position.
    pub(crate) async fn another(client: Client, name: &str) -> Result<Self> {
        client.execute("INSERT INTO positions VALUES ($1, 0)", &[&name]).await?;
        let advance = format!("UPDATE positions SET position = $2 WHERE name = '{name}' AND position = $1");
        Ok(Self {
            add_all: client.prepare(&add_all("totals")).await?,
            add_one: client.prepare(&add_one("totals")).await?,
            advance: client.prepare(&advance).await?,
            client,
            position: 0,
        })
    }

    /// Applies a page with one statement, in one transaction.
    pub(crate) async fn apply_all(&mut self, page: &[Arc<Deposit>]) -> Result<()> {
        let transaction = self.client.transaction().await?;
        let next = self.position + page.len() as i64;
        let updated = transaction.execute(&self.advance, &[&self.position, &next]).await?;
        anyhow::ensure!(updated == 1, "another writer has updated the position");
        let (ids, amounts): (Vec<&str>, Vec<i64>) =
            page.iter().map(|commit| (commit.key.id(), commit.payloads[0])).unzip();
        transaction.execute(&self.add_all, &[&ids, &amounts]).await?;
        transaction.commit().await?;
        self.position = next;
        Ok(())
    }

    /// Applies one event in its own transaction.
    pub(crate) async fn apply_one(&mut self, deposit: &Deposit) -> Result<()> {
        let transaction = self.client.transaction().await?;
        let next = self.position + 1;
        let updated = transaction.execute(&self.advance, &[&self.position, &next]).await?;
        anyhow::ensure!(updated == 1, "another writer has updated the position");
        transaction.execute(&self.add_one, &[&deposit.key.id(), &deposit.payloads[0]]).await?;
        transaction.commit().await?;
        self.position = next;
        Ok(())
    }
}
