//! One version of a view, inside a transaction of the writing thread.

use std::fmt;
use std::marker::PhantomData;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, Batch, ViewError};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, ViewDefinition};
use rusqlite::Connection;

use super::{View, rows};
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, Mover};

/// A view's code, and what was checked of what it says of itself. It holds no handle to the database, so that the threads
/// of that can hold it.
pub(crate) struct ViewInner<K, S, E, V> {
    pub(super) view: V,
    definition: ViewDefinition,
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
    /// The view, if its tables are well named.
    pub(super) fn new(view: V) -> Result<Self, StorageError> {
        let definition = view.definition();
        let tables: Vec<String> = view.tables().iter().map(|table| (*table).to_owned()).collect();
        let invalid = |what| Err(StorageError::new(ErrorKind::Invalid, what));
        for (place, table) in tables.iter().enumerate() {
            if let Err(error) = ViewDefinition::new(table, [""; 0]) {
                let what = format!("the view {definition} cannot have a table of the name {table:?}");
                return Err(StorageError::new(ErrorKind::Invalid, what).because(error));
            }
            if tables[..place].contains(table) {
                return invalid(format!("the view {definition} has the table {table} twice"));
            }
        }
        Ok(Self { view, definition, tables, types: PhantomData })
    }

    /// Applies `batch`, if every stream is where it begins. Unless the answer is `Done`, the caller undoes what was written.
    pub(super) fn apply(&self, connection: &Guarded, batch: &Batch<K, S, E>) -> Result<Applied, Failure> {
        let advanced = self.advance(connection, batch)?;
        if !matches!(advanced, Applied::Done) {
            return Ok(advanced);
        }
        match connection.lend(|transaction| self.view.apply(transaction, batch)) {
            Ok(()) => Ok(Applied::Done),
            Err(error) => self.rejected(error).map(Applied::Rejected),
        }
    }

    /// Advances the positions, unless a stream is not where the batch begins or is in quarantine.
    fn advance(&self, connection: &Guarded, batch: &Batch<K, S, E>) -> Result<Applied, Failure> {
        let id = self.id(connection)?;
        let advance = || {
            let mut mover = Mover::new(connection, id)?;
            for moved in batch.position_changes() {
                // What cannot be kept is nowhere stored.
                let (from, to) = (moved.from.map(rows::row), rows::row(moved.to));
                let (None | Some(Some(_)), Some(to)) = (from, to) else {
                    return Ok(Applied::PositionDiffers);
                };
                if !mover.advance(moved.stream.as_str(), from.flatten(), to)? {
                    let quarantined = layout::place(connection, id, moved.stream.as_str())?.quarantined;
                    return Ok(if quarantined { Applied::Quarantined } else { Applied::PositionDiffers });
                }
            }
            Ok(Applied::Done)
        };
        advance().map_err(|error| Failure::new(&self.cannot("apply"), error))
    }

    fn rejected(&self, error: ViewError) -> Result<ViewError, Failure> {
        match Failure::of_code(&self.cannot("apply"), error) {
            Ok(failure) => Err(failure),
            Err(error) => Ok(error),
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

    /// The number that this version goes by in the file.
    pub(super) fn id(&self, connection: &Connection) -> Result<i64, Failure> {
        layout::version(connection, self.name(), self.version())
            .map_err(|error| Failure::new(&self.cannot("find"), error))?
            .ok_or_else(|| {
                let what = format!("the view {} is not kept any more: it was retired", self.definition);
                Failure::plain(ErrorKind::Refused, what)
            })
    }

    /// "cannot `what` the view users v1".
    pub(super) fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the view {}", self.definition)
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
