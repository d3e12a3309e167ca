//! Views in Postgres.

mod applying;
mod classification;
mod each;
mod inner;
pub(crate) mod layout;
mod reading;
mod rows;
mod store;
mod take_over;
mod transaction;
mod versions;

use eventsrc_core::ViewDefinition;
use eventsrc_core::view::{Batch, ViewError};
use tokio_postgres::Error;

pub use each::each;
pub use store::PostgresView;
pub use transaction::Transaction;

/// Rows of a user's own, made of events by a user's own SQL.
///
/// The code runs in a transaction of the library's, and may run again for commits whose transaction was rolled back; so
/// whatever it does outside of the transaction does not count. It begins while the positions are still on their way to be
/// checked: if a stream turns out to be elsewhere, the code is dropped, and its statements come to nothing.
///
/// It must not end the transaction: a `COMMIT` of its own fails, nothing can be written after a `ROLLBACK` of its own, and both
/// times the batch is rejected, even if the code makes nothing of it. Locks that it takes by itself should be taken in
/// an order that is the same for all, as by statements that go through streams as the batch has them, sorted by name.
///
/// The rows of the public table `users` lie in `users_v1` for version 1 of the view: that is what
/// [`create`](View::create) makes and [`apply`](View::apply) writes. Readers use `users`, which shows the rows of the
/// version that serves. Both are in the schema that new tables of the connection's user go to. What was granted on `users`
/// stays granted when another version takes over; a `GRANT` on `users_v1` is not needed to read `users`.
///
/// Writing each table with one statement for the whole batch is the fastest; [`each`] applies events one by one.
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
    /// What it is called, its version, and what it follows.
    fn definition(&self) -> ViewDefinition;

    /// The public names of its tables: each 1 to 40 lower-case letters, digits and `_`, beginning with a letter, and not
    /// ending in `_v` and digits.
    fn tables(&self) -> &[&str];

    /// Makes the table `NAME_vVERSION` of each public name, and whatever belongs to them, such as indexes.
    ///
    /// # Errors
    ///
    /// What Postgres says.
    fn create(&self, transaction: &Transaction) -> impl Future<Output = Result<(), Error>> + Send;

    /// Applies the events of a batch to the rows.
    ///
    /// # Errors
    ///
    /// Whatever cannot be applied, however often it is tried. An error of tokio-postgres that may go well another time, such
    /// as a lost connection, a deadlock or a full disk, as the error itself or as one of its causes, is taken for what it
    /// is, and the batch is tried again; so is a [`StorageError`](eventsrc_core::StorageError) that says so. So keep the
    /// cause. Where the code keeps it to itself and a statement failed, the batch is tried again a few times.
    fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<K, S, E>,
    ) -> impl Future<Output = Result<(), ViewError>> + Send;
}
