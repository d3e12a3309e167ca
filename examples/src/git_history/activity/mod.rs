//! The view: how often each file was changed, and who changed what, in tables.
//!
//! A fold reads the events of one file to answer about that file. The view answers about all of them without reading any:
//! each event was counted once, when it came.

mod build;
mod changes;
mod rows;
mod tables;
mod versions;

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, ViewError};
use eventsrc_sqlite::rusqlite::{self, Connection};
use eventsrc_sqlite::{SqliteView, View};

pub use build::{Built, Comparison, Replaced, as_of};
pub use rows::{AuthorRow, FileRow, authors, churn};
pub use versions::Versions;

use super::event::FileEvent;
use super::path::FilePath;

/// A version of the view in an SQLite file.
pub type ActivityView = SqliteView<FilePath, u64, FileEvent, Activity>;

/// Counts changes: by file in the table `churn`, by author in `authors`, and by both in `author_files`.
///
/// The count of a file depends on that file's stream only, and the counts of an author are sums, and the least and the
/// greatest of what the streams have: so the rows are the same in whatever order the streams come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Which version of the view this is. Version 0 has no tables: it serves before anything is built.
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
