//! The contract of a view in Postgres.

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, StreamColumn, ViewError};
use tokio_postgres::Error;

use super::transaction::Transaction;

/// A read model in Postgres: tables, and SQL that writes events to them.
///
/// # Transactions
///
/// The library begins and commits the transaction in which [`apply`](View::apply) runs. If the transaction is rolled back,
/// the code runs again for the same commits, so it must have no effects outside of the transaction.
///
/// The code starts before the position check has been answered (pipelining). If a position differs, the code is dropped,
/// and its statements have no effect.
///
/// The code must not end the transaction. A `COMMIT` in the code fails, and after a `ROLLBACK` in the code every write
/// fails. In both cases the batch is rejected, even if the code ignores the error.
///
/// If the code takes locks, it must always take them in the same order to avoid deadlocks. Statements that go through the
/// streams in the order of the batch, which is sorted by name, do so.
///
/// # Tables
///
/// The rows of the public table `users` are in the table `users_v1` for version 1 of the view, which
/// [`create`](View::create) creates and [`apply`](View::apply) writes. Readers use `users`, which shows the rows of the
/// serving version. Both are in the schema in which the connection's user creates tables by default. Privileges that are
/// granted on `users` remain when another version takes over; reading `users` requires no privileges on `users_v1`.
///
/// # Example
///
/// One statement for each table and batch is the fastest. [`each`](crate::each) applies events one by one.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use eventsrc_core::{StreamName, ViewDefinition};
/// use eventsrc_core::view::{Batch, ViewError};
/// use eventsrc_postgres::{Transaction, View, tokio_postgres};
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
///     async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
///         transaction.batch_execute("CREATE TABLE users_v1 (id text PRIMARY KEY, name text NOT NULL)").await
///     }
///
///     async fn apply(
///         &self,
///         transaction: &Transaction,
///         batch: &Batch<StreamName, u64, String>,
///     ) -> Result<(), ViewError> {
///         // The last name of each user.
///         let names: BTreeMap<_, _> = batch.events().map(|event| (event.key().id(), event.payload)).collect();
///         let (ids, names): (Vec<_>, Vec<_>) = names.into_iter().unzip();
///         let put = transaction
///             .prepare_cached(
///                 "INSERT INTO users_v1 SELECT * FROM unnest($1::text[], $2::text[])
///                  ON CONFLICT (id) DO UPDATE SET name = excluded.name",
///             )
///             .await?;
///         transaction.execute(&put, &[&ids, &names]).await?;
///         Ok(())
///     }
/// }
/// ```
pub trait View<K, S, E>: Send + Sync + 'static {
    /// Name, version and followed categories.
    fn definition(&self) -> ViewDefinition;

    /// Public names of the tables: each 1 to 40 lower-case letters, digits and `_`, beginning with a letter and not ending
    /// in `_v` and digits.
    fn tables(&self) -> &[&str];

    /// Column of the table with the public name `table` that says to which stream a row belongs; none by default. With it,
    /// [`verify`](eventsrc_core::verify::verify) names the streams of the rows that differ.
    fn stream_column(&self, table: &str) -> Option<StreamColumn> {
        let _ = table;
        None
    }

    /// Creates the table `NAME_vVERSION` for each public name, and what belongs to these tables, such as indexes.
    ///
    /// # Errors
    ///
    /// The errors of Postgres.
    fn create(&self, transaction: &Transaction) -> impl Future<Output = Result<(), Error>> + Send;

    /// Applies the events of a batch to the rows.
    ///
    /// # Errors
    ///
    /// An error means that the batch cannot be applied, however often it is tried, with these exceptions:
    ///
    /// - After a transient error of tokio-postgres, such as a lost connection, a deadlock or a full disk, the batch is
    ///   retried, and so it is after an error about a missing table, column, privilege or other object. The error is recognised as the returned error or as one of its causes, so keep the cause.
    /// - After a [`StorageError`](eventsrc_core::StorageError) of the kind `Unavailable`, `Overloaded` or `Refused`, returned
    ///   or as a cause, the batch is retried as well.
    /// - If a statement failed and the code does not return its error, the batch is tried three times in total.
    /// - If one of the declared tables is missing, no error rejects the batch.
    fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<K, S, E>,
    ) -> impl Future<Output = Result<(), ViewError>> + Send;
}
