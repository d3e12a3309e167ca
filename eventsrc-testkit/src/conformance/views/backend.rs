//! Backends of view stores, as a suite uses them.

use std::collections::BTreeMap;

use eventsrc_core::view::{StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use futures::future::BoxFuture;

use super::super::sample::SampleKey;
use super::sample::ViewSample;

/// Sequence of a backend's view store.
pub type ViewSequenceOf<B> = <<B as ViewBackend>::Store as ViewStore>::Sequence;

/// Rows of the test view: the text that was written to each row, in the order of the writes.
pub type ViewRows = BTreeMap<String, String>;

/// A backend whose view store is checked against the contract.
///
/// The backend implements the test view: one table whose rows have a name and a text. Its code executes the lines of
/// [`ViewSample::lines`] for each event. In SQL:
///
/// ```sql
/// CREATE TABLE ledger_v1 (
///     name TEXT PRIMARY KEY,
///     text TEXT NOT NULL,
///     beside TEXT REFERENCES ledger_v1 (name) DEFERRABLE INITIALLY DEFERRED
/// );
/// -- for each line of an event
/// INSERT INTO ledger_v1 (name, text, beside) VALUES ($1, $2, $3)
/// ON CONFLICT (name) DO UPDATE SET text = ledger_v1.text || excluded.text, beside = excluded.beside;
/// ```
///
/// The name of the table contains the name and the version of the view's definition, so that several views and versions
/// can share one location.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
///
/// use eventsrc_core::{Event, StorageError, StreamName, ViewDefinition};
/// use eventsrc_core::view::{MemoryView, StreamPosition, ViewError};
/// use eventsrc_testkit::conformance::{
///     self, SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample,
/// };
/// use futures::FutureExt;
/// use futures::future::BoxFuture;
///
/// struct Memory;
///
/// type Store = Arc<MemoryView<SampleKey, u64, ViewSample, ViewRows>>;
///
/// /// The code of the test view.
/// fn apply(rows: &mut ViewRows, event: Event<'_, SampleKey, u64, ViewSample>) -> Result<(), ViewError> {
///     for line in ViewSample::lines(&event) {
///         let line = line?;
///         // A map has no constraints that a line could violate.
///         rows.entry(line.name).or_default().push_str(&line.text.unwrap_or_default());
///     }
///     Ok(())
/// }
///
/// impl ViewBackend for Memory {
///     type Store = Store;
///     type Location = Mutex<HashMap<ViewDefinition, Store>>;
///
///     fn capabilities(&self) -> ViewCapabilities {
///         ViewCapabilities {
///             has_tables: false,
///             has_rules: false,
///             has_rules_at_the_end: false,
///             can_be_interrupted: false,
///         }
///     }
///
///     async fn create(&self) -> Self::Location {
///         Mutex::default()
///     }
///
///     async fn open(&self, location: &Self::Location, definition: &ViewDefinition) -> Store {
///         let mut views = location.lock().unwrap();
///         let new = || Arc::new(MemoryView::new(definition.clone(), apply));
///         Arc::clone(views.entry(definition.clone()).or_insert_with(new))
///     }
///
///     async fn rows(&self, store: &Store) -> Result<ViewRows, StorageError> {
///         Ok(store.read(&[], ViewRows::clone).1)
///     }
///
///     async fn read(
///         &self,
///         store: &Store,
///         streams: &[StreamName],
///     ) -> Result<(Vec<StreamPosition<u64>>, ViewRows), StorageError> {
///         Ok(store.read(streams, ViewRows::clone))
///     }
///
///     async fn interrupt(&self, _: &Self::Location) -> BoxFuture<'static, ()> {
///         std::future::ready(()).boxed()
///     }
///
///     async fn hide_table(&self, _: &Self::Location, _: &ViewDefinition) -> BoxFuture<'static, ()> {
///         std::future::ready(()).boxed()
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let backend = Arc::new(Memory);
/// conformance::views(&backend).await.assert_kept();
/// conformance::views_under_faults(&backend, 7).await.assert_kept();
/// # });
/// ```
pub trait ViewBackend: Send + Sync + 'static {
    /// The view store.
    type Store: ViewStore<Key = SampleKey, Payload = ViewSample>;
    /// The location of the views of one rule, such as a directory or a schema. It is dropped when the rule ends.
    type Location: Send + Sync + 'static;

    /// Returns the optional features that the database has.
    fn capabilities(&self) -> ViewCapabilities;

    /// Creates a new location without views.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// Opens the test view of this definition at `location` as another process would: the handle shares no state with
    /// other handles that two processes would not share.
    fn open(
        &self,
        location: &Self::Location,
        definition: &ViewDefinition,
    ) -> impl Future<Output = Self::Store> + Send;

    /// Returns the rows of the version of `store`, whichever version serves.
    fn rows(&self, store: &Self::Store) -> impl Future<Output = Result<ViewRows, StorageError>> + Send;

    /// Returns the positions of these streams and the rows in one snapshot, by the view's public name, as a reader
    /// requests them.
    fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> impl Future<Output = Result<(Vec<StreamPosition<ViewSequenceOf<Self>>>, ViewRows), StorageError>> + Send;

    /// Makes the location unusable by a transient fault, such as lost connections or a full disk. The returned future
    /// ends the fault.
    fn interrupt(&self, location: &Self::Location) -> impl Future<Output = BoxFuture<'static, ()>> + Send;

    /// Renames the table of the test view of this definition, as an operator may do by mistake. The returned future gives it
    /// its name back.
    fn hide_table(
        &self,
        location: &Self::Location,
        definition: &ViewDefinition,
    ) -> impl Future<Output = BoxFuture<'static, ()>> + Send;
}

/// The optional features of a database for views. A declared feature is checked. A feature that is not declared is
/// reported as undeclared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewCapabilities {
    /// Rows are in tables that can be missing, and [`ViewBackend::hide_table`] hides them.
    pub has_tables: bool,
    /// Tables can have constraints, such as `NOT NULL`.
    pub has_rules: bool,
    /// Tables can have deferred constraints, which are checked when the transaction ends.
    pub has_rules_at_the_end: bool,
    /// [`ViewBackend::interrupt`] interrupts the database.
    pub can_be_interrupted: bool,
}

impl ViewCapabilities {
    /// All optional features.
    pub const ALL: Self =
        Self { has_tables: true, has_rules: true, has_rules_at_the_end: true, can_be_interrupted: true };
}
