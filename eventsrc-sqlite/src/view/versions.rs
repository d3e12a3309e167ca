//! Versions of a view beside each other in a file.

use eventsrc_core::commit::Payload;
use eventsrc_core::{ErrorKind, Sequence, StreamKey};
use rusqlite::Connection;

use super::View;
use super::inner::ViewInner;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, VersionRow};
use crate::work::Worked;

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Makes this version, if it is not there.
    pub(super) fn open(&self, connection: &Guarded) -> Result<Worked<()>, Failure> {
        let failure = |error| Failure::new(&self.cannot("open"), error);
        let versions = layout::versions(connection, self.name()).map_err(failure)?;
        let tables = serde_json::to_string(&self.tables).expect("names are JSON");
        if let Some(known) = versions.iter().find(|known| known.version == self.version()) {
            return if known.tables == tables {
                Ok(Worked::Undone(()))
            } else {
                Err(self.refuses(&format!("it was made with the tables {}, not {tables}", known.tables)))
            };
        }
        self.check_names(connection, &versions)?;
        connection.lend(|connection| Ok(self.view.create(connection)?)).map_err(|error| {
            let doing = self.cannot("make the tables of");
            Failure::of_code(&doing, error)
                .unwrap_or_else(|error| Failure::plain(ErrorKind::Invalid, doing).because(error))
        })?;
        for table in &self.tables {
            let rows = layout::versioned(table, self.version());
            if layout::kind_of(connection, &rows).map_err(failure)?.as_deref() != Some("table") {
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
        Ok(Worked::Kept(()))
    }

    /// Removes this version, unless it serves.
    pub(super) fn retire(&self, connection: &Guarded) -> Result<Worked<()>, Failure> {
        let failure = |error| Failure::new(&self.cannot("retire"), error);
        let (view, version) = (self.name(), self.version());
        let Some(id) = layout::version(connection, view, version).map_err(failure)? else {
            return Ok(Worked::Undone(()));
        };
        if layout::serving(connection, view).map_err(failure)?.is_some_and(|(_, serving)| serving == id) {
            let what = format!("{}: it serves", self.cannot("retire"));
            return Err(Failure::plain(ErrorKind::Invalid, what));
        }
        layout::drop_tables(connection, &self.tables, version)
            .and_then(|()| layout::remove_version(connection, id))
            .map_err(failure)?;
        Ok(Worked::Kept(()))
    }

    /// Has the public names show the rows of this version, and takes back those that only `before` had.
    pub(super) fn replace(&self, connection: &Connection, before: u32) -> Result<(), Failure> {
        let failure = |error| Failure::new(&self.cannot("switch to"), error);
        let versions = layout::versions(connection, self.name()).map_err(failure)?;
        let before = versions.iter().find(|known| known.version == before);
        for table in before.map(names).into_iter().flatten() {
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

    /// Refuses names that are taken in the file.
    fn check_names(&self, connection: &Connection, versions: &[VersionRow]) -> Result<(), Failure> {
        let failure = |error| Failure::new(&self.cannot("open"), error);
        for table in &self.tables {
            if let Some(other) = layout::other_owner(connection, self.name(), table).map_err(failure)? {
                return Err(self.refuses(&format!("the view {other} has a table {table}, too")));
            }
            let is_public = versions.iter().any(|known| names(known).contains(table));
            let rows = layout::versioned(table, self.version());
            for taken in [Some(table).filter(|_| !is_public), Some(&rows)].into_iter().flatten() {
                if let Some(kind) = layout::kind_of(connection, taken).map_err(failure)? {
                    return Err(self.refuses(&format!("there is a {kind} {taken} in the file")));
                }
            }
        }
        Ok(())
    }

    fn refuses(&self, why: &str) -> Failure {
        Failure::plain(ErrorKind::Refused, format!("{}: {why}", self.cannot("open")))
    }
}

/// The public names of a version's tables.
fn names(row: &VersionRow) -> Vec<String> {
    serde_json::from_str(&row.tables).unwrap_or_default()
}
