//! Transactions in which a user's code writes or reads.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use futures::FutureExt;
use tokio_postgres::{Client, Error, Statement};

use crate::connection::Connection;
use crate::silence::Silence;

/// Transaction in which a view's code writes, or a reader reads. It dereferences to a [`Client`] of tokio-postgres, so all
/// methods of the client are available.
///
/// The library begins and ends the transaction. Statements that are awaited concurrently, for example with
/// `futures::join!`, are pipelined, which saves round trips. They are executed in the order in which they are first
/// polled.
pub struct Transaction(Arc<Connection>);

impl Transaction {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(connection))
    }

    /// Returns the prepared statement for `sql`. It is prepared once for each connection, so executing it takes one round
    /// trip and no parsing.
    ///
    /// # Errors
    ///
    /// The error of Postgres.
    pub async fn prepare_cached(&self, sql: &str) -> Result<Statement, Error> {
        self.0.prepare_cached(sql).await
    }

    /// Another handle of the same transaction.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Waits for `answer`, which the statements of a call in this transaction give, unless the server is silent for too
    /// long. If the call is dropped before the answer, its statement is cancelled.
    pub(super) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Result<T, Silence> {
        self.0.answer(answer).await
    }

    /// As [`answer`](Transaction::answer), for a call whose statements may take any time.
    pub(super) async fn answer_at_any_time<T>(&self, answer: impl Future<Output = T>) -> T {
        self.0.answer_at_any_time(answer).await
    }

    /// True if the connection was idle in its pool before this transaction.
    pub(super) fn was_idle(&self) -> bool {
        self.0.was_idle()
    }

    /// Sends statements after all that were sent before, and does not wait for their answer.
    pub(super) fn send(&self, sql: &str) {
        // A client sends when its future is first polled.
        let _ = self.batch_execute(sql).now_or_never();
    }

    /// Clears the caches of prepared statements of all connections of the pool.
    pub(super) fn clear_statement_caches(&self) {
        self.0.clear_statement_caches();
    }
}

impl Deref for Transaction {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}
