//! Begin, commit and rollback of the library's transactions.

use std::ops::Deref;

use futures::future;
use tokio_postgres::Error;

use super::layout::{BEGIN, COMMIT, PreparedStatements, READ_ONLY, ROLLBACK, TransactionMark};
use super::transaction::Transaction;

/// Transaction that is rolled back when it is dropped before its commit. The drop does not wait for the rollback:
/// statements of the connection's next user are executed after it. If the call is dropped before the server has answered,
/// the connection has no next user unless the rollback is answered soon (see [`Connection`](crate::connection::Connection)).
pub(super) struct OpenTransaction {
    transaction: Transaction,
    ended: bool,
}

/// Error of a commit.
pub(super) enum CommitError {
    /// The check before the commit failed: a statement of the transaction failed, or the code of the view ended it.
    Check(Error),
    /// The commit failed, or its outcome is unknown.
    Commit(Error),
}

impl OpenTransaction {
    /// Transaction that has not begun yet.
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction, ended: false }
    }

    /// Begins a transaction that writes, and takes the advisory lock called `lock_name`. Statements that are sent right
    /// after it belong to the transaction.
    pub(super) async fn begin(
        &self,
        statements: &PreparedStatements,
        lock_name: &str,
    ) -> Result<TransactionMark, Error> {
        let (read_only, begun, mark) = future::join3(
            self.batch_execute(READ_ONLY),
            self.batch_execute(BEGIN),
            statements.enter(&self.transaction, lock_name),
        )
        .await;
        read_only.and(begun).and(mark)
    }

    /// Commits the transaction. The check and `COMMIT` are pipelined; if the check fails, `COMMIT` rolls back.
    pub(super) async fn commit(
        mut self,
        statements: &PreparedStatements,
        mark: &TransactionMark,
    ) -> Result<(), CommitError> {
        let (finished, committed) =
            future::join(statements.finish(&self.transaction, mark), self.batch_execute(COMMIT)).await;
        self.ended = committed.is_ok();
        finished.map_err(CommitError::Check)?;
        committed.map_err(CommitError::Commit)
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
