//! How a store for views comes into a suite.

use std::collections::BTreeMap;

use eventsrc_core::view::{StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use futures::future::BoxFuture;

use super::super::sample::SampleKey;
use super::sample::ViewSample;

/// The sequence of a backend's view store.
pub type ViewSequenceOf<B> = <<B as ViewBackend>::Store as ViewStore>::Sequence;

/// The rows of the test view: what was written to each, in the order in which it was.
pub type ViewRows = BTreeMap<String, String>;

/// A kind of database for views that is held against the contract.
///
/// The backend keeps the test view: one table, of rows that have a name and a text. Its code does with an event what
/// [`ViewSample::lines`] says. In SQL:
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
/// The table is called by the name and the version of the view's definition, so that several live at one place.
pub trait ViewBackend: Send + Sync + 'static {
    /// The store.
    type Store: ViewStore<Key = SampleKey, Payload = ViewSample>;
    /// Where the views of one rule live: a directory, a schema. It is dropped when the rule is done.
    type Location: Send + Sync + 'static;

    /// What the database may do or not, and this one does.
    fn capabilities(&self) -> ViewCapabilities;

    /// A new place without any views.
    fn create(&self) -> impl Future<Output = Self::Location> + Send;

    /// A handle on the test view of this definition at `place`, as another process would open it: it shares no more than
    /// that process would.
    fn open(
        &self,
        place: &Self::Location,
        definition: &ViewDefinition,
    ) -> impl Future<Output = Self::Store> + Send;

    /// The rows of the version that `store` keeps, whichever serves.
    fn rows(&self, store: &Self::Store) -> impl Future<Output = Result<ViewRows, StorageError>> + Send;

    /// Where these streams are, and the rows, in one snapshot and by the view's public name, as a reader asks for them.
    fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> impl Future<Output = Result<(Vec<StreamPosition<ViewSequenceOf<Self>>>, ViewRows), StorageError>> + Send;

    /// Makes the place unusable for a while, by something that may go well another time: connections are lost, the disk
    /// is full. The future that it gives mends it.
    fn interrupt(&self, place: &Self::Location) -> impl Future<Output = BoxFuture<'static, ()>> + Send;
}

/// What a database for views may do or not. What is declared is checked; what is not is shown as undeclared in the
/// report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewCapabilities {
    /// Its tables may have rules, such as that a text is there.
    pub has_rules: bool,
    /// Its tables may have rules that are looked at only when the transaction ends.
    pub has_rules_at_the_end: bool,
    /// It can be interrupted.
    pub can_be_interrupted: bool,
}

impl ViewCapabilities {
    /// All that there is.
    pub const ALL: Self = Self { has_rules: true, has_rules_at_the_end: true, can_be_interrupted: true };
}
