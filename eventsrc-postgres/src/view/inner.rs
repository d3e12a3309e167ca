//! Shared state of one version of a view: its code, its checked definition and its statements.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError, ViewDefinition};
use tokio::sync::Mutex;
use tokio_postgres::Error;

use super::classification::Classification;
use super::code::{catch_panic, ended_transaction_error};
use super::contract::View;
use super::layout::{self, VersionKey, VersionRow, ViewLayout, begin_reading, is_other_transaction};
use super::open_transaction::{CommitError, OpenTransaction};
use super::table_names;
use super::transaction::Transaction;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::postgres::Postgres;
use crate::silence::Silence;

/// Shared state of one version of a view.
pub(super) struct ViewInner<K, S, E, V> {
    pub(super) view: V,
    pub(super) definition: ViewDefinition,
    pub(super) postgres: Postgres,
    pub(super) layout: ViewLayout,
    /// Public names of the tables.
    pub(super) tables: Vec<Identifier>,
    /// Key of the advisory lock held by every transaction that changes this view.
    pub(super) lock_name: String,
    /// Key of the advisory lock held by every transaction that creates a view in the schema.
    pub(super) schema_lock_name: String,
    /// Held while waiting for a transaction that holds the lock of the view exclusively, so that at most one connection
    /// waits.
    pub(super) lock_wait: Mutex<()>,
    /// Serving version, as it was last read.
    serving: RwLock<Arc<Serving>>,
    types: PhantomData<fn(K, S, E)>,
}

/// The version that readers see.
#[derive(Debug, PartialEq)]
pub(super) struct Serving {
    /// `None` if no version serves.
    pub(super) version: Option<i64>,
    /// Its public names.
    pub(super) tables: Vec<Identifier>,
    /// Statements that begin a transaction in which its public names refer to the same version until the end.
    pub(super) begin: String,
}

impl Serving {
    fn new(version: Option<i64>, tables: Vec<Identifier>) -> Self {
        Self { version, begin: begin_reading(&tables), tables }
    }
}

impl<K, S, E, V: View<K, S, E>> ViewInner<K, S, E, V> {
    /// State of `view`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the name of a table is malformed or declared twice.
    pub(super) fn new(postgres: &Postgres, view: V) -> Result<Self, StorageError> {
        let definition = view.definition();
        let tables = table_names::checked(&definition, view.tables())?;
        let schema = postgres.schema().as_str();
        Ok(Self {
            layout: ViewLayout::new(postgres.schema()),
            lock_name: format!("eventsrc view {schema}.{}", definition.name()),
            schema_lock_name: format!("eventsrc views {schema}"),
            lock_wait: Mutex::default(),
            serving: RwLock::new(Arc::new(Serving::new(None, Vec::new()))),
            view,
            definition,
            postgres: postgres.clone(),
            tables,
            types: PhantomData,
        })
    }

    /// Creates the tables with the code of the view.
    pub(super) async fn create_tables(&self, transaction: &Transaction) -> Result<(), StorageError> {
        let created = catch_panic(async { Ok(self.view.create(transaction).await?) }).await;
        created.map_err(|error| {
            let context = self.cannot("create the tables of");
            let (kind, what) = match Classification::of(&*error) {
                Classification::Transient(kind, reason) => (kind, format!("{context}: {reason}")),
                Classification::EndedTransaction => {
                    (ErrorKind::Invalid, format!("{context}: {}", ended_transaction_error()))
                }
                _ => (ErrorKind::Invalid, context),
            };
            StorageError::new(kind, what).because(error)
        })
    }
}

impl<K, S, E, V> ViewInner<K, S, E, V> {
    pub(super) fn version_key(&self) -> VersionKey<'_> {
        VersionKey { view: self.definition.name(), version: self.definition.version().into() }
    }

    /// Result of `call` in a transaction that has not begun. `verb` is the action for an error, such as "apply".
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if there is no connection, or the server does not answer in time: then the outcome is
    /// unknown.
    pub(super) async fn in_transaction<T, F>(
        &self,
        verb: &str,
        call: impl FnOnce(OpenTransaction) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        let transaction = Transaction::new(self.postgres.connection().await?);
        // On the heap: it holds the futures of the code of the view, and would make those of all callers large.
        let call = Box::pin(call(OpenTransaction::new(transaction.share())));
        let answer = transaction.answer(call).await;
        answer.map_err(|silence| self.silence(verb, silence))?
    }

    /// Error of a server that did not answer in time; `verb` is the failed action.
    pub(super) fn silence(&self, verb: &str, silence: Silence) -> StorageError {
        Failure::silent(&self.cannot(verb), silence).into()
    }

    /// Context of an error: "cannot `verb` the view users v1".
    pub(super) fn cannot(&self, verb: &str) -> String {
        format!("cannot {verb} the view {}", self.definition)
    }

    /// Converts errors of the library's own statements; `verb` is the failed action, such as "apply".
    pub(super) fn failure(&self, verb: &str) -> impl Fn(Error) -> StorageError {
        let context = self.cannot(verb);
        move |error| Failure::new(&context, error).into()
    }

    /// Converts the error of a commit; `verb` is the failed action.
    pub(super) fn commit_failure(&self, verb: &str, error: CommitError) -> StorageError {
        match error {
            CommitError::Check(error) if is_other_transaction(&error) => {
                let what = format!("{}: {}", self.cannot(verb), ended_transaction_error());
                StorageError::new(ErrorKind::Invalid, what).because(error)
            }
            CommitError::Check(error) | CommitError::Commit(error) => self.failure(verb)(error),
        }
    }

    /// Error of a version that does not exist any more.
    pub(super) fn retired(&self) -> StorageError {
        let what = format!("the view {} does not exist any more: it was retired", self.definition);
        StorageError::new(ErrorKind::Refused, what)
    }

    /// The first table of this version that is missing.
    pub(super) async fn missing_table(&self) -> Result<Option<String>, StorageError> {
        let tables: Vec<_> = self
            .tables
            .iter()
            .map(|table| table_names::of_version(table, self.version_key().version))
            .collect();
        Ok(layout::missing_name(self.postgres.connections(), &tables, &[]).await?)
    }

    /// The first public name that is missing, of the serving version as it was last read.
    pub(super) async fn missing_public_name(&self) -> Result<Option<String>, StorageError> {
        let serving = self.serving();
        Ok(layout::missing_name(self.postgres.connections(), &[], &serving.tables).await?)
    }

    /// Error of a missing table; `verb` is the failed action.
    pub(super) fn missing(&self, verb: &str, table: &str) -> StorageError {
        let what = format!(
            "{}: its table {table} is missing; restore it, or replace this version by another one",
            self.cannot(verb)
        );
        StorageError::new(ErrorKind::Refused, what)
    }

    /// Error of a missing public name of the serving version; `verb` is the failed action.
    pub(super) fn missing_public(&self, verb: &str, name: &str) -> StorageError {
        let mut what = format!("{}: its public name {name} is missing", self.cannot(verb));
        let serving = self.serving();
        let table = serving.tables.iter().find(|table| table.as_str() == name);
        if let (Some(table), Some(version)) = (table, serving.version) {
            let create = layout::publication(table, &table_names::of_version(table, version));
            what.push_str(&format!("; create it again with: {create}"));
        }
        StorageError::new(ErrorKind::Refused, what)
    }

    /// Transient error of applying a batch.
    pub(super) fn transient_error(
        &self,
        kind: ErrorKind,
        reason: &str,
        error: impl Into<ViewError>,
    ) -> StorageError {
        StorageError::new(kind, format!("{}: {reason}", self.cannot("apply"))).because(error)
    }

    /// Serving version, as it was last read.
    pub(super) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores which of `versions` serves.
    pub(super) fn set_serving(&self, versions: &[VersionRow]) -> Result<(), StorageError> {
        let serving = versions.iter().find(|version| version.serves);
        let tables =
            serving.map(|serving| table_names::from_row(&serving.tables)).transpose()?.unwrap_or_default();
        let serving = Serving::new(serving.map(|serving| serving.version), tables);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
        Ok(())
    }
}

impl<K, S, E, V> fmt::Debug for ViewInner<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewInner").field("definition", &self.definition).finish_non_exhaustive()
    }
}
