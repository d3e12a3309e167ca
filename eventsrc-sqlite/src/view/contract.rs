//! The trait that the code of a view implements.

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, StreamColumn, ViewError};
use rusqlite::Connection;

/// The code of a view: the tables of a read model, and the SQL that writes them from events.
///
/// The code runs on the writer thread, in a transaction of the library. If that transaction is rolled back, the code may
/// run again for the same commits. Only its writes to the file are exactly-once, because they are part of the transaction.
///
/// The code must not begin or end transactions, attach files, change settings of the connection, or write to the tables
/// of events and positions. Such statements are refused. Every other write to the file waits for the code, so it should be
/// fast and prepare its statements with [`prepare_cached`](Connection::prepare_cached).
///
/// A public table `users` is stored as the table `users_v1` for version 1 of the view: [`create`](View::create) creates
/// that table, and [`apply`](View::apply) writes to it. Readers query `users`, an SQL view of the rows of the serving
/// version.
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
    /// Name, version and followed categories of the view.
    fn definition(&self) -> ViewDefinition;

    /// Public names of the view's tables. A name has 1 to 40 lower-case letters, digits and `_`, begins with a letter, and
    /// does not end in `_v` and digits.
    fn tables(&self) -> &[&str];

    /// Column of the table with the public name `table` that says to which stream a row belongs; none by default. With it,
    /// [`verify`](eventsrc_core::verify::verify) names the streams of the rows that differ.
    fn stream_column(&self, table: &str) -> Option<StreamColumn> {
        let _ = table;
        None
    }

    /// Creates the table `NAME_vVERSION` for each public name, and its indexes and triggers.
    ///
    /// # Errors
    ///
    /// Any error of SQLite.
    fn create(&self, connection: &Connection) -> rusqlite::Result<()>;

    /// Applies the events of a batch to the tables.
    ///
    /// # Errors
    ///
    /// An error rejects the batch: the view cannot apply it, however often it is tried.
    ///
    /// Some errors do not reject the batch, and it is tried again: an error of SQLite about the file, the disk or memory, or
    /// about a missing table, column or other object; and a [`StorageError`](eventsrc_core::StorageError) of kind
    /// `Unavailable`, `Overloaded` or `Refused`. They are recognised as the error itself and among its causes, so keep the
    /// cause. If one of the declared tables is missing, no error rejects the batch.
    fn apply(&self, transaction: &Connection, batch: &Batch<K, S, E>) -> Result<(), ViewError>;
}
