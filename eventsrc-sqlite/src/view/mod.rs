//! Views in a file.

mod digest;
pub(crate) mod inline;
mod inner;
mod rows;
mod store;
mod take_over;
mod versions;

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, ViewError};
use rusqlite::Connection;

pub use store::SqliteView;

/// Rows of a user's own, made of events by a user's own SQL.
///
/// The code runs on the thread that writes the file, in a transaction of the library's, and may be called again for
/// commits whose transaction was rolled back; so whatever it does outside of the transaction does not count. It must not
/// begin or end transactions, attach files, change settings, or write to the tables of events and positions: what it tries
/// of that is refused. It should be quick, because everything else that is written waits for it, and prepare its
/// statements with [`prepare_cached`](Connection::prepare_cached).
///
/// The rows of the public table `users` lie in `users_v1` for version 1 of the view: that is what
/// [`create`](View::create) makes and [`apply`](View::apply) writes. Readers use `users`, which shows the rows of the
/// version that serves.
///
/// ```
/// use eventsrc_core::{StreamName, ViewDefinition};
/// use eventsrc_core::view::{Batch, ViewError};
/// use eventsrc_sqlite::{View, rusqlite};
/// use rusqlite::Connection;
///
/// /// Names of users by id.
/// struct Names;
///
/// impl View<StreamName, u64, String> for Names {
///     fn definition(&self) -> ViewDefinition {
///         ViewDefinition::new("names", ["user"]).expect("the name is well-formed")
///     }
///
///     fn tables(&self) -> &[&str] {
///         &["users"]
///     }
///
///     fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
///         connection.execute_batch("CREATE TABLE users_v1 (id TEXT PRIMARY KEY, name TEXT NOT NULL)")
///     }
///
///     fn apply(
///         &self,
///         transaction: &Connection,
///         batch: &Batch<StreamName, u64, String>,
///     ) -> Result<(), ViewError> {
///         let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO users_v1 VALUES (?1, ?2)")?;
///         for event in batch.events() {
///             put.execute([event.key().id(), event.payload])?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait View<K, S, E>: Send + Sync + 'static {
    /// What it is called, its version, and what it follows.
    fn definition(&self) -> ViewDefinition;

    /// The public names of its tables: each 1 to 40 lower-case letters, digits and `_`, beginning with a letter, and not
    /// ending in `_v` and digits.
    fn tables(&self) -> &[&str];

    /// Makes the table `NAME_vVERSION` of each public name, and whatever belongs to them, such as indexes.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    fn create(&self, connection: &Connection) -> rusqlite::Result<()>;

    /// Applies the events of a batch to the rows.
    ///
    /// # Errors
    ///
    /// Whatever cannot be applied, however often it is tried. An error of SQLite about the disk, the file or memory, as
    /// the error itself or as one of its causes, is taken for what it is, and the batch is tried again; so is a
    /// [`StorageError`](eventsrc_core::StorageError) that says so.
    fn apply(&self, transaction: &Connection, batch: &Batch<K, S, E>) -> Result<(), ViewError>;
}
