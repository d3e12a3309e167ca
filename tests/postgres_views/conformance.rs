//! Every rule of the contract of views.

use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::view::{Batch, StreamPosition as At, ViewError, ViewStore};
use eventsrc_core::{Sequence, StorageError, StreamName, ViewDefinition};
use eventsrc_postgres::{Postgres, PostgresView, Settings, Transaction, View, tokio_postgres};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::Proxy;
use eventsrc_testkit::conformance::{
    self, Report, SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_postgres::NoTls;

use super::Location;

/// With zones in the sequences, which is the harder case. All other tests here use numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_every_rule_of_views() {
    let backend = Arc::new(InPostgres(PhantomData::<fn(ZonedSequence)>));
    shown("zoned", &conformance::views(&backend).await);
    shown("zoned", &conformance::versioned_views(&backend).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_every_rule_of_views_under_faults() {
    let backend = Arc::new(InPostgres(PhantomData::<fn(u64)>));
    shown("numbers", &conformance::views_under_faults(&backend, 1).await);
}

/// Prints the result in one line, and asserts that every rule is kept.
fn shown(name: &str, report: &Report) {
    let (rules, kept) = (report.rows().len(), report.kept());
    println!("postgres, {name}: {kept} of {rules} rules kept {}", report.notes().join("; "));
    report.assert_kept();
    assert_eq!(kept, rules, "none is undeclared");
}

/// The test view in schemas of their own. Each handle has its own connections, as another process would.
struct InPostgres<S>(PhantomData<fn(S)>);

/// A schema, and the address of its database.
struct Schema {
    settings: Settings,
    url: String,
    proxy: Arc<Proxy>,
}

impl<S: Sequence> ViewBackend for InPostgres<S> {
    type Store = PostgresView<SampleKey, S, ViewSample, Ledger>;
    type Location = Schema;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities::ALL
    }

    async fn create(&self) -> Schema {
        let place = Location::new().await;
        let proxy =
            Proxy::before(servers::postgres().await.address()).await.expect("there is a port for a proxy");
        // The server detects deadlocks in the code of a view earlier than after a second.
        let url = proxy.url(&place.url) + "%20-cdeadlock_timeout%3D10ms";
        Schema { settings: place.settings(), url, proxy: Arc::new(proxy) }
    }

    async fn open(&self, place: &Schema, definition: &ViewDefinition) -> Self::Store {
        let postgres = Postgres::connect_with(&place.url, place.settings.clone()).await;
        let postgres = postgres.expect("the server takes connections");
        let name: &'static str = definition.name().to_owned().leak();
        let view = Ledger { definition: definition.clone(), tables: [name] };
        PostgresView::open(&postgres, view).await.expect("the view opens")
    }

    async fn rows(&self, store: &Self::Store) -> Result<ViewRows, StorageError> {
        let table = table(store.definition());
        Ok(store.read(&[], |transaction| rows(transaction, &table)).await?.1)
    }

    async fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> Result<(Vec<At<S>>, ViewRows), StorageError> {
        store.read(streams, |transaction| rows(transaction, store.definition().name())).await
    }

    async fn interrupt(&self, place: &Schema) -> BoxFuture<'static, ()> {
        let proxy = Arc::clone(&place.proxy);
        proxy.refuse().await;
        proxy.cut();
        async move { proxy.accept().await.expect("the port of the proxy is still free") }.boxed()
    }

    async fn hide_table(&self, place: &Schema, definition: &ViewDefinition) -> BoxFuture<'static, ()> {
        let (client, connection) =
            tokio_postgres::connect(&place.url, NoTls).await.expect("the server takes connections");
        tokio::spawn(connection);
        let (hidden, table) = ("hidden", table(definition));
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        client.batch_execute(&rename(&table, hidden)).await.expect("it is renamed");
        async move { client.batch_execute(&rename(hidden, &table)).await.expect("it is renamed") }.boxed()
    }
}

/// The test view.
struct Ledger {
    definition: ViewDefinition,
    tables: [&'static str; 1],
}

fn table(definition: &ViewDefinition) -> String {
    format!("{}_v{}", definition.name(), definition.version())
}

async fn rows(transaction: Transaction, table: &str) -> Result<ViewRows, tokio_postgres::Error> {
    let all = transaction.prepare_cached(&format!("SELECT name, text FROM {table}")).await?;
    let rows = transaction.query(&all, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

impl<S: Sequence> View<SampleKey, S, ViewSample> for Ledger {
    fn definition(&self) -> ViewDefinition {
        self.definition.clone()
    }

    fn tables(&self) -> &[&str] {
        &self.tables
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        let table = table(&self.definition);
        transaction
            .batch_execute(&format!(
                "CREATE TABLE {table} (
                     name text PRIMARY KEY,
                     text text NOT NULL,
                     beside text REFERENCES {table} (name) DEFERRABLE INITIALLY DEFERRED
                 )"
            ))
            .await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<SampleKey, S, ViewSample>,
    ) -> Result<(), ViewError> {
        let table = table(&self.definition);
        let write = transaction
            .prepare_cached(&format!(
                "INSERT INTO {table} (name, text, beside) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET text = {table}.text || excluded.text, beside = excluded.beside"
            ))
            .await?;
        for event in batch.events() {
            for line in ViewSample::lines(&event) {
                let line = line?;
                let written = transaction.execute(&write, &[&line.name, &line.text, &line.beside]).await;
                if !line.forgiven {
                    written?;
                }
            }
        }
        Ok(())
    }
}
