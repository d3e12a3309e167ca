//! Transactions that the library begins and ends, and in which a user's code writes or reads.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use futures::FutureExt;
use futures::future;
use tokio_postgres::{Client, Error, Statement};

use super::layout::{BEGIN, COMMIT, FENCE, PreparedStatements, ROLLBACK, TransactionMark};
use crate::connections::Connection;

/// A transaction in which a view's code writes, or a reader reads: a [`Client`] of tokio-postgres, which takes everything that
/// one takes, by `transaction.query(…)` and the like.
///
/// The library begins and ends it. Statements that are waited for side by side, as by `futures::join!`, are on their way
/// side by side, which saves round trips; they are carried out in the order in which they were first polled.
pub struct Transaction(Arc<Connection>);

impl Transaction {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(connection))
    }

    /// The statement `sql`, prepared once a connection, so that to run it takes one round trip and no planning.
    ///
    /// # Errors
    ///
    /// What Postgres says of it.
    pub async fn prepare_cached(&self, sql: &str) -> Result<Statement, Error> {
        self.0.prepare_cached(sql).await
    }

    /// Another handle on the same transaction.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// The connection.
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Sends a text on its way behind everything that was sent before, and does not wait for its answer.
    fn send(&self, sql: &str) {
        // A client sends when it is first polled.
        let _ = self.batch_execute(sql).now_or_never();
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

/// A transaction from before it begins until it has ended; it is rolled back when it is dropped. Nobody waits for that: who has
/// the connection next comes after it.
pub(super) struct OpenTransaction {
    transaction: Transaction,
    ended: bool,
}

/// Why a transaction was not committed.
pub(super) enum Uncommitted {
    /// It is not the one that was begun, or failed before.
    NotOurs(Error),
    /// It could not be, or nobody knows.
    Commit(Error),
}

impl OpenTransaction {
    /// A transaction that is about to begin.
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction, ended: false }
    }

    /// Begins a transaction that writes, and enters under `name`. What is sent right behind belongs to it.
    pub(super) async fn begin(
        &self,
        statements: &PreparedStatements,
        name: &str,
    ) -> Result<TransactionMark, Error> {
        let (fenced, begun, mark) = future::join3(
            self.batch_execute(FENCE),
            self.batch_execute(BEGIN),
            statements.enter(&self.transaction, name),
        )
        .await;
        fenced.and(begun).and(mark)
    }

    /// Commits what was begun; both its checks and COMMIT are on their way at once, and if the checks fail COMMIT rolls back.
    pub(super) async fn commit(
        mut self,
        statements: &PreparedStatements,
        mark: &TransactionMark,
    ) -> Result<(), Uncommitted> {
        let (finished, committed) =
            future::join(statements.finish(&self.transaction, mark), self.batch_execute(COMMIT)).await;
        self.ended = committed.is_ok();
        finished.map_err(Uncommitted::NotOurs)?;
        committed.map_err(Uncommitted::Commit)
    }
}

impl Deref for OpenTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.transaction.send(ROLLBACK);
        }
    }
}
