//! One version of a view, in transactions of the writer thread.

use std::fmt;
use std::marker::PhantomData;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, Batch, ViewError};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, ViewDefinition};
use rusqlite::Connection;

use super::contract::View;
use super::rows;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, PositionUpdater};

/// The code of a view, with its validated definition and table names. It holds no handle of the database, so that the
/// threads of the database can hold it.
pub(crate) struct ViewInner<K, S, E, V> {
    pub(super) view: V,
    definition: ViewDefinition,
    /// Public names.
    pub(super) tables: Vec<String>,
    types: PhantomData<fn(K, S, E)>,
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Validates the table names of `view`.
    pub(super) fn new(view: V) -> Result<Self, StorageError> {
        let definition = view.definition();
        let tables: Vec<String> = view.tables().iter().map(|table| (*table).to_owned()).collect();
        let invalid = |what| StorageError::new(ErrorKind::Invalid, what);
        for (index, table) in tables.iter().enumerate() {
            if let Err(error) = ViewDefinition::new(table, [""; 0]) {
                let what = format!("the view {definition} cannot have a table named {table:?}");
                return Err(invalid(what).because(error));
            }
            if tables[..index].contains(table) {
                return Err(invalid(format!("the view {definition} has two tables named {table}")));
            }
        }
        Ok(Self { view, definition, tables, types: PhantomData })
    }

    /// Applies `batch`, if every stream has the position at which it begins. The caller rolls back unless the answer is
    /// `Done`.
    pub(super) fn apply(&self, connection: &Guarded, batch: &Batch<K, S, E>) -> Result<Applied, Failure> {
        let advanced = self.advance(connection, batch)?;
        if !matches!(advanced, Applied::Done) {
            return Ok(advanced);
        }
        match connection.lend(|transaction| self.view.apply(transaction, batch)) {
            Ok(()) => Ok(Applied::Done),
            Err(error) => self.rejected(connection, error).map(Applied::Rejected),
        }
    }

    /// Advances the positions, unless a stream has another position or is in quarantine.
    fn advance(&self, connection: &Guarded, batch: &Batch<K, S, E>) -> Result<Applied, Failure> {
        let id = self.id(connection)?;
        let advance = || {
            let mut updater = PositionUpdater::new(connection, id)?;
            for change in batch.position_changes() {
                // A position that the file cannot hold differs from every stored one.
                let (from, to) = (change.from.map(rows::position_row), rows::position_row(change.to));
                let (None | Some(Some(_)), Some(to)) = (from, to) else {
                    return Ok(Applied::PositionDiffers);
                };
                let stream = change.stream.as_str();
                if !updater.advance(stream, from.flatten(), to)? {
                    let quarantined = layout::position_of(connection, id, stream)?.quarantined;
                    return Ok(if quarantined { Applied::Quarantined } else { Applied::PositionDiffers });
                }
            }
            Ok(Applied::Done)
        };
        advance().map_err(|error| Failure::new(&self.cannot("apply"), error))
    }

    /// The error, if the view's code rejects the batch with it. A failure, if the error comes from the environment, or if a
    /// table of the view is missing, whatever the code says.
    fn rejected(&self, connection: &Connection, error: ViewError) -> Result<ViewError, Failure> {
        let error = match Failure::from_user_code(&self.cannot("apply"), error) {
            Ok(failure) => return Err(failure),
            Err(error) => error,
        };
        match self.check_tables(connection, "apply") {
            Err(failure) if failure.misses_object() => Err(failure.because(error)),
            checked => checked.map(|()| error),
        }
    }
}

impl<K, S, E, V> ViewInner<K, S, E, V> {
    pub(super) fn definition(&self) -> &ViewDefinition {
        &self.definition
    }

    pub(super) fn name(&self) -> &str {
        self.definition.name()
    }

    pub(super) fn version(&self) -> u32 {
        self.definition.version()
    }

    /// Row id of this version in the file.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Refused` if this version was retired.
    pub(super) fn id(&self, connection: &Connection) -> Result<i64, Failure> {
        layout::version(connection, self.name(), self.version())
            .map_err(|error| Failure::new(&self.cannot("find"), error))?
            .ok_or_else(|| {
                let what = format!("the view {} was retired: open it again to create it", self.definition);
                Failure::plain(ErrorKind::Refused, what)
            })
    }

    /// Checks that the tables with the rows of this version exist.
    pub(super) fn check_tables(&self, connection: &Connection, do_what: &str) -> Result<(), Failure> {
        for table in &self.tables {
            let rows = layout::versioned_table(table, self.version());
            let found = layout::object_type(connection, &rows)
                .map_err(|error| Failure::new(&self.cannot(do_what), error))?;
            if found.as_deref() != Some("table") {
                let what = format!(
                    "{}: its table {rows} is missing; restore it, or replace this version by another one",
                    self.cannot(do_what)
                );
                return Err(Failure::missing(what));
            }
        }
        Ok(())
    }

    /// The clause "cannot `do_what` the view users v1".
    pub(super) fn cannot(&self, do_what: &str) -> String {
        format!("cannot {do_what} the view {}", self.definition)
    }
}

impl<K, S, E, V> fmt::Debug for ViewInner<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewInner")
            .field("definition", &self.definition)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}
