//! Creation, publication and removal of view versions.

use eventsrc_core::commit::Payload;
use eventsrc_core::{ErrorKind, Sequence, StreamKey};
use rusqlite::Connection;

use super::contract::View;
use super::inner::ViewInner;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, VersionRow};
use crate::work::WorkOutcome;

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Creates this version, if it does not exist. The first version of a view becomes the serving version.
    pub(super) fn open(&self, connection: &Guarded) -> Result<WorkOutcome<()>, Failure> {
        let failure = |error| Failure::new(&self.cannot("open"), error);
        let versions = layout::versions(connection, self.name()).map_err(failure)?;
        let tables = serde_json::to_string(&self.tables).expect("names are JSON");
        if let Some(stored) = versions.iter().find(|stored| stored.version == self.version()) {
            if stored.tables != tables {
                let why = format!("it was made with the tables {}, not {tables}", stored.tables);
                return Err(self.cannot_open(&why));
            }
            self.check_tables(connection, "open")?;
            if stored.serves {
                self.check_public_names(connection)?;
            }
            return Ok(WorkOutcome::RollBack(()));
        }
        self.check_names(connection, &versions)?;
        connection.lend(|connection| Ok(self.view.create(connection)?)).map_err(|error| {
            let doing = self.cannot("make the tables of");
            Failure::from_user_code(&doing, error)
                .unwrap_or_else(|error| Failure::plain(ErrorKind::Invalid, doing).because(error))
        })?;
        for table in &self.tables {
            let rows = layout::versioned_table(table, self.version());
            if layout::object_type(connection, &rows).map_err(failure)?.as_deref() != Some("table") {
                let what = format!("{}: its code did not make the table {rows}", self.cannot("open"));
                return Err(Failure::plain(ErrorKind::Invalid, what));
            }
        }
        let serves = versions.is_empty();
        let row = VersionRow { version: self.version(), serves, tables };
        layout::create_version(connection, self.name(), &row).map_err(failure)?;
        if serves {
            self.publish(connection)?;
        }
        Ok(WorkOutcome::Commit(()))
    }

    /// Checks that readers find the public names of this version, which serves.
    fn check_public_names(&self, connection: &Connection) -> Result<(), Failure> {
        for table in &self.tables {
            let found = layout::object_type(connection, table)
                .map_err(|error| Failure::new(&self.cannot("open"), error))?;
            if found.as_deref() != Some("view") {
                let what = format!(
                    "{}: its public name {table} is missing; create it again with: {}",
                    self.cannot("open"),
                    layout::publication(table, self.version())
                );
                return Err(Failure::missing(what));
            }
        }
        Ok(())
    }

    /// Removes this version. Tables that are missing are no error.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Invalid` if it is the serving version.
    pub(super) fn retire(&self, connection: &Guarded) -> Result<WorkOutcome<()>, Failure> {
        let failure = |error| Failure::new(&self.cannot("retire"), error);
        let (view, version) = (self.name(), self.version());
        let Some(id) = layout::version(connection, view, version).map_err(failure)? else {
            return Ok(WorkOutcome::RollBack(()));
        };
        if layout::serving(connection, view).map_err(failure)?.is_some_and(|(_, serving)| serving == id) {
            let what = format!("{}: it is the serving version", self.cannot("retire"));
            return Err(Failure::plain(ErrorKind::Invalid, what));
        }
        layout::drop_tables(connection, &self.tables, version)
            .and_then(|()| layout::remove_version(connection, id))
            .map_err(failure)?;
        Ok(WorkOutcome::Commit(()))
    }

    /// Makes this version the serving version in place of `before`. Public names that only `before` has are dropped.
    pub(super) fn replace(&self, connection: &Connection, before: u32) -> Result<(), Failure> {
        let failure = |error| Failure::new(&self.cannot("switch to"), error);
        self.check_tables(connection, "switch to")?;
        let versions = layout::versions(connection, self.name()).map_err(failure)?;
        let before = versions.iter().find(|stored| stored.version == before);
        for table in before.map(public_names).into_iter().flatten() {
            layout::unpublish(connection, &table).map_err(failure)?;
        }
        layout::serve(connection, self.name(), self.version()).map_err(failure)?;
        self.publish(connection)
    }

    fn publish(&self, connection: &Connection) -> Result<(), Failure> {
        self.tables
            .iter()
            .try_for_each(|table| layout::publish(connection, table, self.version()))
            .map_err(|error| Failure::new(&self.cannot("publish"), error))
    }

    /// Checks that the names of the tables are free in the file.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Refused` if another view or another object of the file has one of the names.
    fn check_names(&self, connection: &Connection, versions: &[VersionRow]) -> Result<(), Failure> {
        let failure = |error| Failure::new(&self.cannot("open"), error);
        for table in &self.tables {
            if let Some(other) = layout::other_owner(connection, self.name(), table).map_err(failure)? {
                return Err(self.cannot_open(&format!("the view {other} has a table {table} already")));
            }
            let is_public = versions.iter().any(|stored| public_names(stored).contains(table));
            let rows = layout::versioned_table(table, self.version());
            for taken in [Some(table).filter(|_| !is_public), Some(&rows)].into_iter().flatten() {
                if let Some(kind) = layout::object_type(connection, taken).map_err(failure)? {
                    return Err(self.cannot_open(&format!("the file has a {kind} {taken} already")));
                }
            }
        }
        Ok(())
    }

    fn cannot_open(&self, why: &str) -> Failure {
        Failure::plain(ErrorKind::Refused, format!("{}: {why}", self.cannot("open")))
    }
}

/// Public names of a version's tables.
fn public_names(row: &VersionRow) -> Vec<String> {
    serde_json::from_str(&row.tables).unwrap_or_default()
}
