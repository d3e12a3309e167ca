//! Every rule of the contract of views.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::view::{Batch, StreamPosition, ViewError, ViewStore};
use eventsrc_core::{Sequence, StorageError, StreamName, ViewDefinition};
use eventsrc_sqlite::{Database, Settings, SqliteView, View};
use eventsrc_testkit::conformance::{
    self, Report, SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_every_rule_of_views() {
    views("numbers", InSqlite::<u64>(PhantomData)).await;
    views("zoned", InSqlite::<ZonedSequence>(PhantomData)).await;
}

async fn views<S: Sequence>(name: &str, backend: InSqlite<S>) {
    let backend = Arc::new(backend);
    shown(name, &conformance::views(&backend).await);
    shown(name, &conformance::versioned_views(&backend).await);
    shown(name, &conformance::views_under_faults(&backend, 1).await);
}

/// Prints the result in one line, and asserts that every rule is kept.
fn shown(name: &str, report: &Report) {
    let (rules, kept) = (report.rows().len(), report.kept());
    println!("sqlite, {name}: {kept} of {rules} rules kept {}", report.notes().join("; "));
    report.assert_kept();
    assert_eq!(kept, rules, "none is undeclared");
}

/// The test view in files of their own. Each handle opens the file again, as another process would.
struct InSqlite<S>(PhantomData<fn() -> S>);

impl<S: Sequence> ViewBackend for InSqlite<S> {
    type Store = SqliteView<SampleKey, S, ViewSample, Ledger>;
    type Location = TempDir;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities::ALL
    }

    async fn create(&self) -> TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    async fn open(&self, place: &TempDir, definition: &ViewDefinition) -> Self::Store {
        let settings = Settings { busy_timeout: BUSY_TIMEOUT, ..Settings::default() };
        let database =
            Database::open_with(place.path().join("views.db"), settings).await.expect("the file opens");
        let name: &'static str = definition.name().to_owned().leak();
        let view = Ledger { definition: definition.clone(), tables: [name] };
        SqliteView::open(&database, view).await.expect("the view opens")
    }

    async fn rows(&self, store: &Self::Store) -> Result<ViewRows, StorageError> {
        let table = table(store.definition());
        Ok(store.read(&[], move |connection| rows(connection, &table)).await?.1)
    }

    async fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<S>>, ViewRows), StorageError> {
        let table = store.definition().name().to_owned();
        store.read(streams, move |connection| rows(connection, &table)).await
    }

    async fn interrupt(&self, place: &TempDir) -> BoxFuture<'static, ()> {
        let other = Connection::open(place.path().join("views.db")).expect("the file opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
        async move { drop(other) }.boxed()
    }

    async fn hide_table(&self, place: &TempDir, definition: &ViewDefinition) -> BoxFuture<'static, ()> {
        let other = Connection::open(place.path().join("views.db")).expect("the file opens");
        let table = table(definition);
        let rename = move |from: &str, to: &str| {
            other.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).expect("it is renamed");
        };
        rename(&table, "hidden");
        async move { rename("hidden", &table) }.boxed()
    }
}

/// Duration for which a handle waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The test view.
struct Ledger {
    definition: ViewDefinition,
    tables: [&'static str; 1],
}

fn table(definition: &ViewDefinition) -> String {
    format!("{}_v{}", definition.name(), definition.version())
}

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<ViewRows> {
    let mut statement = connection.prepare(&format!("SELECT name, text FROM {table}"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl<S: Sequence> View<SampleKey, S, ViewSample> for Ledger {
    fn definition(&self) -> ViewDefinition {
        self.definition.clone()
    }

    fn tables(&self) -> &[&str] {
        &self.tables
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        let table = table(&self.definition);
        connection.execute_batch(&format!(
            "CREATE TABLE {table} (
                 name TEXT PRIMARY KEY,
                 text TEXT NOT NULL,
                 beside TEXT REFERENCES {table} (name) DEFERRABLE INITIALLY DEFERRED
             )"
        ))
    }

    fn apply(
        &self,
        transaction: &Connection,
        batch: &Batch<SampleKey, S, ViewSample>,
    ) -> Result<(), ViewError> {
        let table = table(&self.definition);
        let mut write = transaction.prepare_cached(&format!(
            "INSERT INTO {table} (name, text, beside) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET text = {table}.text || excluded.text, beside = excluded.beside"
        ))?;
        for event in batch.events() {
            for line in ViewSample::lines(&event) {
                let line = line?;
                let written = write.execute((&line.name, &line.text, &line.beside));
                if !line.forgiven {
                    written?;
                }
            }
        }
        Ok(())
    }
}
