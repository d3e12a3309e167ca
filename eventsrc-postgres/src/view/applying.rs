//! A batch, in one transaction: positions and rows.

use std::panic::AssertUnwindSafe;

use deadpool_postgres::Object;
use eventsrc_core::backend::error_from_panic;
use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, Batch, ViewError};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey};
use futures::{FutureExt, future};
use tokio_postgres::Error;

use super::classification::Classification;
use super::inner::ViewInner;
use super::layout::{self, LockMode, PositionChangeRows, PreparedStatements};
use super::transaction::{OpenTransaction, Transaction, Uncommitted};
use super::{View, rows};
use crate::failure::Failure;

/// How often a batch is tried whose code kept to itself why a statement failed.
const TRIES: usize = 3;

/// Outcome of one transaction that was to apply a batch.
pub(super) enum ApplyOutcome {
    /// The answer.
    Answered(Applied),
    /// A statement failed, and its error does not tell whether it always will.
    Unexplained(ViewError),
}

/// Why the rows were not written: one of our own statements failed before.
pub(super) enum Stopped {
    /// The transaction did not begin.
    Beginning(Error),
    /// The positions did not move.
    Advancing(Error),
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Applies `batch`, if every stream is where it begins.
    pub(super) async fn apply(&self, batch: &Batch<K, S, E>) -> Result<Applied, StorageError> {
        let Some(moves) = rows::moves(batch)? else { return Ok(Applied::PositionDiffers) };
        if moves.streams.is_empty() {
            return Ok(Applied::Done);
        }
        let mut tries = 0;
        loop {
            match self.attempt(batch, &moves).await? {
                None => self.wait().await?,
                Some(ApplyOutcome::Answered(applied)) => return Ok(applied),
                Some(ApplyOutcome::Unexplained(error)) => {
                    tries += 1;
                    if tries == TRIES {
                        return Ok(Applied::Rejected(error));
                    }
                }
            }
        }
    }

    /// Waits until nobody is alone with the view.
    pub(super) async fn wait(&self) -> Result<(), StorageError> {
        let _first = self.waiting.lock().await;
        let connections = self.postgres.connections();
        Ok(layout::wait(connections, &self.cannot("apply"), &self.name).await?)
    }

    /// A transaction that is about to begin, and what it needs.
    pub(super) async fn open(
        &self,
        doing: &str,
        lock_mode: LockMode,
    ) -> Result<(OpenTransaction, PreparedStatements), StorageError> {
        let transaction = Transaction::new(self.postgres.connection().await?);
        let statements = self.layout.prepare(&transaction, lock_mode).await.map_err(self.failure(doing))?;
        Ok((OpenTransaction::new(transaction), statements))
    }

    /// Applies `batch` in one transaction; `None` if another transaction holds the view's lock exclusively.
    async fn attempt(
        &self,
        batch: &Batch<K, S, E>,
        moves: &PositionChangeRows<'_>,
    ) -> Result<Option<ApplyOutcome>, StorageError> {
        let (open, statements) = self.open("apply", LockMode::Shared).await?;
        let begin = open.begin(&statements, &self.name);
        match self.change(&open, &statements, begin, batch, moves).await {
            Ok((mark, Ok(()))) => match open.commit(&statements, &mark).await {
                Ok(()) => Ok(Some(ApplyOutcome::Answered(Applied::Done))),
                Err(uncommitted) => self.uncommitted(uncommitted).map(Some),
            },
            Ok((_, Err(error))) => self.refused(&open, error).await.map(Some),
            Err(Stopped::Beginning(error)) if layout::is_locked(&error) => Ok(None),
            Err(Stopped::Beginning(error)) => Err(self.failure("apply")(error)),
            Err(Stopped::Advancing(error)) => {
                self.stopped(error).map(|applied| Some(ApplyOutcome::Answered(applied)))
            }
        }
    }

    /// Moves the positions and has the code write the rows, once `begin` is done.
    ///
    /// All of it is on its way at once, in this order. So the code runs whether the positions move or not; if not, what it
    /// sends comes to nothing, and nobody waits for it.
    pub(super) async fn change<T>(
        &self,
        open: &OpenTransaction,
        statements: &PreparedStatements,
        begin: impl Future<Output = Result<T, Error>>,
        batch: &Batch<K, S, E>,
        moves: &PositionChangeRows<'_>,
    ) -> Result<(T, Result<(), ViewError>), Stopped> {
        let before = async {
            let (begun, advanced) = future::join(begin, statements.advance(open, self.at(), moves)).await;
            let begun = begun.map_err(Stopped::Beginning)?;
            advanced.map_err(Stopped::Advancing)?;
            Ok(begun)
        };
        let code = async { Ok(caught(async { self.view.apply(open, batch).await }).await) };
        future::try_join(before, code).await
    }

    /// What it comes to that positions did not move.
    pub(super) fn stopped(&self, error: Error) -> Result<Applied, StorageError> {
        if layout::position_differs(&error) {
            return Ok(Applied::PositionDiffers);
        }
        if layout::is_quarantined(&error) {
            return Ok(Applied::Quarantined);
        }
        if layout::lacks_the_version(&error) {
            return Err(self.retired().because(error));
        }
        match Classification::on(&error) {
            // Such as a name that is too long for an index.
            Classification::Lasts => Ok(Applied::Rejected(error.into())),
            _ => Err(self.failure("apply")(error)),
        }
    }

    /// What it comes to that the code refused something.
    pub(super) async fn refused(
        &self,
        open: &OpenTransaction,
        error: ViewError,
    ) -> Result<ApplyOutcome, StorageError> {
        match Classification::on(&*error) {
            Classification::Passes(kind, why) => Err(self.passing(kind, why, error)),
            Classification::Lasts => Ok(ApplyOutcome::Answered(Applied::Rejected(error))),
            Classification::Ends => {
                Ok(ApplyOutcome::Answered(Applied::Rejected(ends().because(error).into())))
            }
            Classification::Outdated => {
                forget_statements(open);
                Ok(ApplyOutcome::Unexplained(error))
            }
            // If a statement has failed, or the connection, it shows here.
            Classification::Unknown => match open.batch_execute("SELECT").await {
                Ok(()) => Ok(ApplyOutcome::Answered(Applied::Rejected(error))),
                Err(failed) => match Classification::on(&failed) {
                    Classification::Unknown => Ok(ApplyOutcome::Unexplained(error)),
                    _ => Err(Failure::new(&self.cannot("apply"), failed).into()),
                },
            },
        }
    }

    /// What it comes to that the transaction was not committed, though the code was content.
    pub(super) fn uncommitted(&self, uncommitted: Uncommitted) -> Result<ApplyOutcome, StorageError> {
        let error = match uncommitted {
            Uncommitted::NotOurs(error) if layout::is_not_ours(&error) => {
                let error =
                    StorageError::new(ErrorKind::Invalid, "the code of a view must not end its transaction");
                return Ok(ApplyOutcome::Answered(Applied::Rejected(error.into())));
            }
            Uncommitted::NotOurs(error) if Classification::on(&error) == Classification::Unknown => {
                let what = "the code of the view went on after a statement had failed";
                let error = StorageError::new(ErrorKind::Invalid, what).because(error);
                return Ok(ApplyOutcome::Unexplained(error.into()));
            }
            Uncommitted::NotOurs(error) => return Err(self.failure("apply")(error)),
            Uncommitted::Commit(error) => error,
        };
        match Classification::on(&error) {
            // Some constraints are checked at the end only.
            Classification::Lasts => Ok(ApplyOutcome::Answered(Applied::Rejected(error.into()))),
            _ => Err(self.failure("apply")(error)),
        }
    }
}

/// What `code` comes to; a panic is an error.
pub(super) async fn caught<T>(code: impl Future<Output = Result<T, ViewError>>) -> Result<T, ViewError> {
    AssertUnwindSafe(code).catch_unwind().await.unwrap_or_else(|panic| Err(error_from_panic(&*panic)))
}

/// The error of code that ended the transaction.
pub(super) fn ends() -> StorageError {
    StorageError::new(ErrorKind::Invalid, "the code of a view must not end its transaction")
}

/// Has all statements of all connections prepared anew.
pub(super) fn forget_statements(transaction: &Transaction) {
    if let Some(pool) = Object::pool(transaction.connection()) {
        pool.manager().statement_caches.clear();
    }
}
