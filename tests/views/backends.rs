//! The stores for views that are held against the contract.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::{
    Batch, Event, MemoryView, Place, Sequence, StorageError, StreamName, ViewDefinition, ViewError, ViewStore,
};
use eventsrc_sqlite::{Database, Settings, SqliteView, View};
use eventsrc_testkit::conformance::{
    SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample, ViewSequenceOf,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tempfile::TempDir;

type Memory<S> = Arc<MemoryView<SampleKey, S, ViewSample, ViewRows>>;

/// Views over what lies in memory at a place.
pub(super) struct InMemory<S, V>(fn(Memory<S>) -> V, fn(&V) -> &Memory<S>);

pub(super) fn memory<S: Sequence>() -> InMemory<S, Memory<S>> {
    InMemory(|memory| memory, |memory| memory)
}

fn write<S: Sequence>(
    rows: &mut ViewRows,
    event: Event<'_, SampleKey, S, ViewSample>,
) -> Result<(), ViewError> {
    for line in ViewSample::lines(&event) {
        let line = line?;
        rows.entry(line.name).or_default().push_str(&line.text.unwrap_or_default());
    }
    Ok(())
}

impl<S, V> ViewBackend for InMemory<S, V>
where
    S: Sequence,
    V: ViewStore<Key = SampleKey, Sequence = S, Payload = ViewSample>,
{
    type Store = V;
    type Place = Mutex<HashMap<ViewDefinition, Memory<S>>>;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities { has_rules: false, has_rules_at_the_end: false, can_be_interrupted: false }
    }

    async fn create(&self) -> Self::Place {
        Mutex::default()
    }

    async fn open(&self, place: &Self::Place, definition: &ViewDefinition) -> V {
        let mut views = place.lock().expect("nothing panics with it");
        let new = || Arc::new(MemoryView::new(definition.clone(), write::<S>));
        (self.0)(Arc::clone(views.entry(definition.clone()).or_insert_with(new)))
    }

    async fn rows(&self, store: &V) -> Result<ViewRows, StorageError> {
        Ok((self.1)(store).read(&[], ViewRows::clone).1)
    }

    async fn read(
        &self,
        store: &V,
        streams: &[StreamName],
    ) -> Result<(Vec<Place<ViewSequenceOf<Self>>>, ViewRows), StorageError> {
        Ok((self.1)(store).read(streams, ViewRows::clone))
    }

    async fn interrupt(&self, _: &Self::Place) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

/// Views in a SQLite file in a directory of its own. Each handle opens the file anew, as another process would.
pub(super) struct Sqlite<S> {
    patience: Duration,
    sequence: PhantomData<fn() -> S>,
}

pub(super) fn sqlite<S: Sequence>() -> Sqlite<S> {
    Sqlite { patience: Settings::default().busy_timeout, sequence: PhantomData }
}

/// One that does not wait for long when another process holds the file.
pub(super) fn impatient_sqlite<S: Sequence>() -> Sqlite<S> {
    Sqlite { patience: Duration::from_millis(100), sequence: PhantomData }
}

/// The test view, in SQL.
pub(super) struct Ledger {
    definition: ViewDefinition,
    tables: [&'static str; 1],
}

impl Ledger {
    fn new(definition: &ViewDefinition) -> Self {
        let names = ["ledger", "ledger_b", "journal", "ledger_c1", "ledger_c", "ledger_cc"];
        let name = names.into_iter().find(|name| *name == definition.name()).expect("the name is known");
        Self { definition: definition.clone(), tables: [name] }
    }

    fn table(&self) -> String {
        format!("{}_v{}", self.definition.name(), self.definition.version())
    }
}

impl<S: Sequence> View<SampleKey, S, ViewSample> for Ledger {
    fn definition(&self) -> ViewDefinition {
        self.definition.clone()
    }

    fn tables(&self) -> &[&str] {
        &self.tables
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        let table = self.table();
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
        let table = self.table();
        let mut add = transaction.prepare_cached(&format!(
            "INSERT INTO {table} (name, text, beside) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET text = {table}.text || excluded.text, beside = excluded.beside"
        ))?;
        for event in batch.events() {
            for line in ViewSample::lines(&event) {
                let line = line?;
                let added = add.execute((line.name, line.text, line.beside));
                if !line.forgiven {
                    added?;
                }
            }
        }
        Ok(())
    }
}

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<ViewRows> {
    let mut rows = connection.prepare(&format!("SELECT name, text FROM {table}"))?;
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl<S: Sequence> ViewBackend for Sqlite<S> {
    type Store = SqliteView<SampleKey, S, ViewSample, Ledger>;
    type Place = TempDir;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities {
            can_be_interrupted: self.patience < Settings::default().busy_timeout,
            ..ViewCapabilities::ALL
        }
    }

    async fn create(&self) -> TempDir {
        tempfile::tempdir().expect("there is a place for temporary files")
    }

    async fn open(&self, directory: &TempDir, definition: &ViewDefinition) -> Self::Store {
        let settings = Settings { busy_timeout: self.patience, ..Settings::default() };
        let database =
            Database::open_with(directory.path().join("views.db"), settings).await.expect("the file opens");
        SqliteView::open(&database, Ledger::new(definition)).await.expect("the view opens")
    }

    async fn rows(&self, store: &Self::Store) -> Result<ViewRows, StorageError> {
        let table = Ledger::new(store.definition()).table();
        Ok(store.read(&[], move |connection| rows(connection, &table)).await?.1)
    }

    async fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> Result<(Vec<Place<S>>, ViewRows), StorageError> {
        let table = store.definition().name().to_owned();
        store.read(streams, move |connection| rows(connection, &table)).await
    }

    /// Another process holds the file.
    async fn interrupt(&self, directory: &TempDir) -> BoxFuture<'static, ()> {
        let other = Connection::open(directory.path().join("views.db")).expect("the file opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        async move { drop(other) }.boxed()
    }
}
