//! Applying a batch: position changes and rows in one transaction.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, Batch, ViewError};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey};
use futures::future;
use tokio_postgres::Error;

use super::classification::Classification;
use super::code::{catch_panic, ended_transaction_error};
use super::contract::View;
use super::inner::ViewInner;
use super::layout::{self, LockMode, PositionChangeRows, PreparedStatements};
use super::open_transaction::{CommitError, OpenTransaction};
use super::rows;
use crate::failure::Failure;

/// Number of times that a batch is tried if a statement failed and the code did not return its error.
const MAX_ATTEMPTS: usize = 3;

/// Outcome of one transaction that was to apply a batch.
pub(super) enum ApplyOutcome {
    /// Answer to the caller.
    Answered(Applied),
    /// A statement failed, and the returned error does not show whether a retry can succeed.
    Unexplained(ViewError),
}

/// Error of a statement of the library that runs before the rows are written.
pub(super) enum StatementError {
    /// The transaction did not begin.
    Begin(Error),
    /// The positions did not change.
    Advance(Error),
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Applies `batch`, if every stream has the position that the batch expects.
    pub(super) async fn apply(&self, batch: &Batch<K, S, E>) -> Result<Applied, StorageError> {
        let Some(changes) = rows::changes(batch)? else { return Ok(Applied::PositionDiffers) };
        if changes.streams.is_empty() {
            return Ok(Applied::Done);
        }
        let mut attempts = 0;
        loop {
            let attempt = self.in_transaction("apply", |open| self.attempt(open, batch, &changes));
            match attempt.await? {
                None => self.wait_for_lock().await?,
                Some(ApplyOutcome::Answered(Applied::Rejected(error))) => return self.rejected(error).await,
                Some(ApplyOutcome::Answered(applied)) => return Ok(applied),
                Some(ApplyOutcome::Unexplained(error)) => {
                    attempts += 1;
                    if attempts == MAX_ATTEMPTS {
                        return self.rejected(error).await;
                    }
                }
            }
        }
    }

    /// Answer to a batch that the code rejects with `error`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] if a table of the view is missing, whatever the code says.
    async fn rejected(&self, error: ViewError) -> Result<Applied, StorageError> {
        match self.missing_table().await? {
            Some(missing) => Err(self.missing("apply", &missing).because(error)),
            None => Ok(Applied::Rejected(error)),
        }
    }

    /// Waits until no transaction holds the lock of the view exclusively.
    pub(super) async fn wait_for_lock(&self) -> Result<(), StorageError> {
        let _only_waiter = self.lock_wait.lock().await;
        let connections = self.postgres.connections();
        Ok(layout::wait(connections, &self.cannot("apply"), &self.lock_name).await?)
    }

    /// Records the names of streams that are not their keys.
    pub(super) async fn record_long_names(
        &self,
        open: &OpenTransaction,
        verb: &str,
        batch: &Batch<K, S, E>,
    ) -> Result<(), StorageError> {
        let names = batch.position_changes().iter().map(|change| change.stream.as_str());
        self.layout.long_names.record(open, names).await.map_err(self.failure(verb))
    }

    /// Prepares the statements of a transaction.
    pub(super) async fn prepare(
        &self,
        open: &OpenTransaction,
        verb: &str,
        lock_mode: LockMode,
    ) -> Result<PreparedStatements, StorageError> {
        self.layout.transactions.prepare(open, lock_mode).await.map_err(self.failure(verb))
    }

    /// Applies `batch` in one transaction; `None` if another transaction holds the view's lock exclusively.
    async fn attempt(
        &self,
        open: OpenTransaction,
        batch: &Batch<K, S, E>,
        changes: &PositionChangeRows<'_>,
    ) -> Result<Option<ApplyOutcome>, StorageError> {
        let statements = self.prepare(&open, "apply", LockMode::Shared).await?;
        self.record_long_names(&open, "apply", batch).await?;
        let begin = open.begin(&statements, &self.lock_name);
        match self.write(&open, &statements, begin, batch, changes).await {
            Ok((mark, Ok(()))) => match open.commit(&statements, &mark).await {
                Ok(()) => Ok(Some(ApplyOutcome::Answered(Applied::Done))),
                Err(error) => self.after_commit_error(error).map(Some),
            },
            Ok((_, Err(error))) => self.after_code_error(&open, error).await.map(Some),
            Err(StatementError::Begin(error)) if layout::is_locked(&error) => Ok(None),
            Err(StatementError::Begin(error)) => Err(self.failure("apply")(error)),
            Err(StatementError::Advance(error)) => {
                self.after_advance_error(error).map(|applied| Some(ApplyOutcome::Answered(applied)))
            }
        }
    }

    /// Changes the positions and runs the code that writes the rows, after `begin`.
    ///
    /// All statements are pipelined in this order. So the code runs even if a position differs; then its statements have
    /// no effect, and the call returns without waiting for the code.
    pub(super) async fn write<T>(
        &self,
        open: &OpenTransaction,
        statements: &PreparedStatements,
        begin: impl Future<Output = Result<T, Error>>,
        batch: &Batch<K, S, E>,
        changes: &PositionChangeRows<'_>,
    ) -> Result<(T, Result<(), ViewError>), StatementError> {
        let before = async {
            let advance = statements.advance(open, self.version_key(), changes);
            let (begun, advanced) = future::join(begin, advance).await;
            let begun = begun.map_err(StatementError::Begin)?;
            advanced.map_err(StatementError::Advance)?;
            Ok(begun)
        };
        let code = async { Ok(catch_panic(async { self.view.apply(open, batch).await }).await) };
        future::try_join(before, code).await
    }

    /// Answer if the positions did not change.
    pub(super) fn after_advance_error(&self, error: Error) -> Result<Applied, StorageError> {
        if layout::position_differs(&error) {
            return Ok(Applied::PositionDiffers);
        }
        if layout::is_quarantined(&error) {
            return Ok(Applied::Quarantined);
        }
        if layout::misses_the_version(&error) {
            return Err(self.retired().because(error));
        }
        match Classification::of(&error) {
            // For example a stream name that is too long for an index.
            Classification::Permanent => Ok(Applied::Rejected(error.into())),
            _ => Err(self.failure("apply")(error)),
        }
    }

    /// Outcome if the code returned an error.
    pub(super) async fn after_code_error(
        &self,
        open: &OpenTransaction,
        error: ViewError,
    ) -> Result<ApplyOutcome, StorageError> {
        match Classification::of(&*error) {
            Classification::Transient(kind, reason) => Err(self.transient_error(kind, reason, error)),
            Classification::Permanent => Ok(ApplyOutcome::Answered(Applied::Rejected(error))),
            Classification::EndedTransaction => {
                let error = ended_transaction_error().because(error);
                Ok(ApplyOutcome::Answered(Applied::Rejected(error.into())))
            }
            Classification::StaleStatement => {
                open.clear_statement_caches();
                Ok(ApplyOutcome::Unexplained(error))
            }
            // An empty statement fails if an earlier statement or the connection failed.
            Classification::Unknown => match open.batch_execute("SELECT").await {
                Ok(()) => Ok(ApplyOutcome::Answered(Applied::Rejected(error))),
                Err(failed) => match Classification::of(&failed) {
                    Classification::Unknown => Ok(ApplyOutcome::Unexplained(error)),
                    _ => Err(Failure::new(&self.cannot("apply"), failed).into()),
                },
            },
        }
    }

    /// Outcome if the code returned `Ok` and the commit failed.
    pub(super) fn after_commit_error(&self, error: CommitError) -> Result<ApplyOutcome, StorageError> {
        let error = match error {
            CommitError::Check(error) if layout::is_other_transaction(&error) => {
                return Ok(ApplyOutcome::Answered(Applied::Rejected(ended_transaction_error().into())));
            }
            CommitError::Check(error) if Classification::of(&error) == Classification::Unknown => {
                let what = "the code of the view continued after a failed statement";
                let error = StorageError::new(ErrorKind::Invalid, what).because(error);
                return Ok(ApplyOutcome::Unexplained(error.into()));
            }
            CommitError::Check(error) => return Err(self.failure("apply")(error)),
            CommitError::Commit(error) => error,
        };
        match Classification::of(&error) {
            // A deferred constraint is checked at the commit.
            Classification::Permanent => Ok(ApplyOutcome::Answered(Applied::Rejected(error.into()))),
            _ => Err(self.failure("apply")(error)),
        }
    }
}
