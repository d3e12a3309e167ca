//! The view itself: its definition, its tables and its handler of batches.

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_sqlite::rusqlite::{self, Connection};
use eventsrc_sqlite::{SqliteView, View};

use super::{changes, tables};
use crate::git_history::event::FileEvent;
use crate::git_history::path::FilePath;

/// A version of the view in an SQLite file.
pub type ActivityView = SqliteView<FilePath, u64, FileEvent, Activity>;

/// Counts changes: by file in the table `churn`, by author in `authors`, and by both in `author_files`.
///
/// The counts of a file depend on its own stream only. The counts of an author are sums, minimums and maximums over
/// streams. The rows are therefore the same in whatever order the streams are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Version of the view. Version 0 has no tables; it serves until the first version is built.
    pub version: u32,
}

impl View<FilePath, u64, FileEvent> for Activity {
    fn definition(&self) -> ViewDefinition {
        let definition = ViewDefinition::new("activity", [FilePath::CATEGORY]);
        definition.expect("the name is well-formed").at_version(self.version)
    }

    fn tables(&self) -> &[&str] {
        if self.version == 0 { &[] } else { &tables::NAMES }
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.version {
            0 => Ok(()),
            version => tables::create(connection, version),
        }
    }

    fn apply(
        &self,
        transaction: &Connection,
        batch: &Batch<FilePath, u64, FileEvent>,
    ) -> Result<(), ViewError> {
        let changes = changes::Changes::of(batch.events());
        Ok(tables::add(transaction, self.version, changes)?)
    }
}
