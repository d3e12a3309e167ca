//! One version of a view: its code, and what was checked of what it says of itself.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use eventsrc_core::view::ViewError;
use eventsrc_core::{ErrorKind, StorageError, ViewDefinition};
use tokio::sync::Mutex;
use tokio_postgres::Error;

use super::View;
use super::applying::{caught, ends};
use super::classification::Classification;
use super::layout::{VersionKey, VersionRow, ViewLayout, begin_reading, is_not_ours};
use super::transaction::{Transaction, Uncommitted};
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::postgres::Postgres;

/// A view's code, and where it is kept.
pub(super) struct ViewInner<K, S, E, V> {
    pub(super) view: V,
    pub(super) definition: ViewDefinition,
    pub(super) postgres: Postgres,
    pub(super) layout: ViewLayout,
    /// Public names.
    pub(super) tables: Vec<Identifier>,
    /// What everybody enters under who changes the view.
    pub(super) name: String,
    /// What everybody enters under who makes views in the schema.
    pub(super) name_of_all: String,
    /// Held by the one who waits while somebody is alone with the view, so that no more than one connection waits.
    pub(super) waiting: Mutex<()>,
    /// As it was when somebody last looked.
    serving: RwLock<Arc<Serving>>,
    types: PhantomData<fn(K, S, E)>,
}

/// The version that readers see.
#[derive(Debug)]
pub(super) struct Serving {
    /// `None` for none at all.
    pub(super) version: Option<i64>,
    /// Begins a transaction in which its public names mean the same to the end.
    pub(super) begin: String,
}

impl<K, S, E, V: View<K, S, E>> ViewInner<K, S, E, V> {
    /// The view, if its tables are well named.
    pub(super) fn new(postgres: &Postgres, view: V) -> Result<Self, StorageError> {
        let definition = view.definition();
        let mut tables: Vec<Identifier> = Vec::new();
        for table in view.tables() {
            let what = || format!("the view {definition} cannot have a table of the name {table:?}");
            ViewDefinition::new(table, [""; 0])
                .map_err(|error| StorageError::new(ErrorKind::Invalid, what()).because(error))?;
            let table = Identifier::new("table", table)?;
            if tables.contains(&table) {
                let what = format!("the view {definition} has the table {table} twice");
                return Err(StorageError::new(ErrorKind::Invalid, what));
            }
            tables.push(table);
        }
        let schema = postgres.schema().as_str();
        Ok(Self {
            layout: ViewLayout::new(postgres.schema()),
            name: format!("eventsrc view {schema}.{}", definition.name()),
            name_of_all: format!("eventsrc views {schema}"),
            waiting: Mutex::default(),
            serving: RwLock::new(Arc::new(Serving { version: None, begin: begin_reading(&[]) })),
            view,
            definition,
            postgres: postgres.clone(),
            tables,
            types: PhantomData,
        })
    }

    /// Has the code make its tables.
    pub(super) async fn create(&self, transaction: &Transaction) -> Result<(), StorageError> {
        let created = caught(async { Ok(self.view.create(transaction).await?) }).await;
        created.map_err(|error| {
            let doing = self.cannot("make the tables of");
            let (kind, what) = match Classification::on(&*error) {
                Classification::Passes(kind, why) => (kind, format!("{doing}: {why}")),
                Classification::Ends => (ErrorKind::Invalid, format!("{doing}: {}", ends())),
                _ => (ErrorKind::Invalid, doing),
            };
            StorageError::new(kind, what).because(error)
        })
    }
}

impl<K, S, E, V> ViewInner<K, S, E, V> {
    pub(super) fn at(&self) -> VersionKey<'_> {
        VersionKey { view: self.definition.name(), version: self.definition.version().into() }
    }

    /// "cannot `what` the view users v1".
    pub(super) fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the view {}", self.definition)
    }

    /// What an error of our own statements comes to, while `doing` something with the view, such as "apply".
    pub(super) fn failure(&self, doing: &str) -> impl Fn(Error) -> StorageError {
        let doing = self.cannot(doing);
        move |error| Failure::new(&doing, error).into()
    }

    /// What it comes to that a transaction was not committed, while `doing` something with the view.
    pub(super) fn not_committed(&self, doing: &str, uncommitted: Uncommitted) -> StorageError {
        match uncommitted {
            Uncommitted::NotOurs(error) if is_not_ours(&error) => {
                let what = format!("{}: {}", self.cannot(doing), ends());
                StorageError::new(ErrorKind::Invalid, what).because(error)
            }
            Uncommitted::NotOurs(error) | Uncommitted::Commit(error) => self.failure(doing)(error),
        }
    }

    /// The error of a version that is not there.
    pub(super) fn retired(&self) -> StorageError {
        let what = format!("the view {} is not kept any more: it was retired", self.definition);
        StorageError::new(ErrorKind::Refused, what)
    }

    /// What an error that passes comes to.
    pub(super) fn passing(&self, kind: ErrorKind, why: &str, error: impl Into<ViewError>) -> StorageError {
        StorageError::new(kind, format!("{}: {why}", self.cannot("apply"))).because(error)
    }

    /// The version that served when somebody last looked.
    pub(super) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note of which version serves.
    pub(super) fn note_serving(&self, versions: &[VersionRow]) -> Result<(), StorageError> {
        let serving = versions.iter().find(|version| version.serves);
        let tables = serving.map(|serving| identifiers(&serving.tables)).transpose()?.unwrap_or_default();
        let serving =
            Serving { version: serving.map(|serving| serving.version), begin: begin_reading(&tables) };
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
        Ok(())
    }
}

/// The public names of a version's tables.
pub(super) fn identifiers(tables: &[String]) -> Result<Vec<Identifier>, StorageError> {
    let read = |table: &String| {
        Identifier::new("table", table).map_err(|error| {
            let what = "cannot read the names of the tables of a view";
            StorageError::new(ErrorKind::Corrupt, what).because(error)
        })
    };
    tables.iter().map(read).collect()
}

/// The name of the table in which a version keeps the rows of the public table `table`.
pub(super) fn versioned(table: &Identifier, version: i64) -> Identifier {
    Identifier::new("table", &format!("{}_v{version}", table.as_str()))
        .expect("a public name leaves room for a version")
}

impl<K, S, E, V> fmt::Debug for ViewInner<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewInner").field("definition", &self.definition).finish_non_exhaustive()
    }
}
