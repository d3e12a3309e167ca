//! A batch, in one transaction: positions and rows.

use std::fmt;
use std::panic::AssertUnwindSafe;

use deadpool_postgres::Object;
use eventsrc_core::{Applied, Batch, ErrorKind, Sequence, StorageError, StreamKey, ViewError, panicked};
use futures::FutureExt;
use futures::future;
use tokio_postgres::Error;

use super::View;
use super::kept::Kept;
use super::layout::{self, MoveRows, Moving, Presence};
use super::rows;
use super::transaction::{Open, Transaction, Uncommitted};
use super::verdict::Verdict;
use crate::failure::Failure;

/// How often a batch is tried whose code kept to itself why a statement failed.
const TRIES: usize = 3;

/// What an attempt came to.
pub(super) enum Attempt {
    /// That is the answer.
    Answered(Applied),
    /// Somebody is alone with the view.
    Held,
    /// A statement failed, and nobody knows whether it always will.
    Unexplained(ViewError),
}

/// Why the rows were not written: one of our own statements failed before.
pub(super) enum Stopped {
    /// The transaction did not begin.
    Beginning(Error),
    /// The positions did not move.
    Advancing(Error),
}

impl<K, S, E, V> Kept<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: fmt::Debug + Send + Sync + 'static,
    V: View<K, S, E>,
{
    /// Applies `batch`, if every stream is where it begins.
    pub(super) async fn apply(&self, batch: &Batch<K, S, E>) -> Result<Applied, StorageError> {
        let Some(moves) = rows::moves(batch)? else { return Ok(Applied::Moved) };
        if moves.streams.is_empty() {
            return Ok(Applied::Done);
        }
        let mut tries = 0;
        loop {
            match self.attempt(batch, &moves).await? {
                Attempt::Answered(applied) => return Ok(applied),
                Attempt::Held => self.wait().await?,
                Attempt::Unexplained(error) => {
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
    pub(super) async fn open(&self, doing: &str, presence: Presence) -> Result<(Open, Moving), StorageError> {
        let transaction = Transaction::new(self.postgres.connection().await?);
        let moving = self.layout.prepare(&transaction, presence).await.map_err(self.failure(doing))?;
        Ok((Open::new(transaction), moving))
    }

    async fn attempt(&self, batch: &Batch<K, S, E>, moves: &MoveRows<'_>) -> Result<Attempt, StorageError> {
        let (open, moving) = self.open("apply", Presence::Shared).await?;
        let begin = open.begin(&moving, &self.name);
        match self.change(&open, &moving, begin, batch, moves).await {
            Ok((mark, Ok(()))) => match open.commit(&moving, &mark).await {
                Ok(()) => Ok(Attempt::Answered(Applied::Done)),
                Err(uncommitted) => self.uncommitted(uncommitted),
            },
            Ok((_, Err(error))) => self.refused(&open, error).await,
            Err(Stopped::Beginning(error)) if layout::says_no(&error) => Ok(Attempt::Held),
            Err(Stopped::Beginning(error)) => Err(self.failure("apply")(error)),
            Err(Stopped::Advancing(error)) => self.stopped(error).map(Attempt::Answered),
        }
    }

    /// Moves the positions and has the code write the rows, once `begin` is done.
    ///
    /// All of it is on its way at once, in this order. So the code runs whether the positions move or not; if not, what it
    /// sends comes to nothing, and nobody waits for it.
    pub(super) async fn change<T>(
        &self,
        open: &Open,
        moving: &Moving,
        begin: impl Future<Output = Result<T, Error>>,
        batch: &Batch<K, S, E>,
        moves: &MoveRows<'_>,
    ) -> Result<(T, Result<(), ViewError>), Stopped> {
        let before = async {
            let (begun, advanced) = future::join(begin, moving.advance(open, self.at(), moves)).await;
            let begun = begun.map_err(Stopped::Beginning)?;
            advanced.map_err(Stopped::Advancing)?;
            Ok(begun)
        };
        let code = async { Ok(caught(async { self.view.apply(open, batch).await }).await) };
        future::try_join(before, code).await
    }

    /// What it comes to that positions did not move.
    pub(super) fn stopped(&self, error: Error) -> Result<Applied, StorageError> {
        if layout::says_no(&error) {
            return Ok(Applied::Moved);
        }
        if layout::lacks_the_version(&error) {
            return Err(self.retired().because(error));
        }
        match Verdict::on(&error) {
            // Such as a name that is too long for an index.
            Verdict::Lasts => Ok(Applied::Rejected(error.into())),
            _ => Err(self.failure("apply")(error)),
        }
    }

    /// What it comes to that the code refused something.
    pub(super) async fn refused(&self, open: &Open, error: ViewError) -> Result<Attempt, StorageError> {
        match Verdict::on(&*error) {
            Verdict::Passes(kind, why) => Err(self.passing(kind, why, error)),
            Verdict::Lasts => Ok(Attempt::Answered(Applied::Rejected(error))),
            Verdict::Ends => Ok(Attempt::Answered(Applied::Rejected(ends().because(error).into()))),
            Verdict::Outdated => {
                forget_statements(open);
                Ok(Attempt::Unexplained(error))
            }
            // If a statement has failed, or the connection, it shows here.
            Verdict::Unknown => match open.batch_execute("SELECT").await {
                Ok(()) => Ok(Attempt::Answered(Applied::Rejected(error))),
                Err(failed) => match Verdict::on(&failed) {
                    Verdict::Unknown => Ok(Attempt::Unexplained(error)),
                    _ => Err(Failure::new(&self.cannot("apply"), failed).into()),
                },
            },
        }
    }

    /// What it comes to that the transaction was not committed, though the code was content.
    pub(super) fn uncommitted(&self, uncommitted: Uncommitted) -> Result<Attempt, StorageError> {
        let error = match uncommitted {
            Uncommitted::NotOurs(error) if layout::is_not_ours(&error) => {
                let error =
                    StorageError::new(ErrorKind::Invalid, "the code of a view must not end its transaction");
                return Ok(Attempt::Answered(Applied::Rejected(error.into())));
            }
            Uncommitted::NotOurs(error) if Verdict::on(&error) == Verdict::Unknown => {
                let what = "the code of the view went on after a statement had failed";
                let error = StorageError::new(ErrorKind::Invalid, what).because(error);
                return Ok(Attempt::Unexplained(error.into()));
            }
            Uncommitted::NotOurs(error) => return Err(self.failure("apply")(error)),
            Uncommitted::Commit(error) => error,
        };
        match Verdict::on(&error) {
            // Some constraints are checked at the end only.
            Verdict::Lasts => Ok(Attempt::Answered(Applied::Rejected(error.into()))),
            _ => Err(self.failure("apply")(error)),
        }
    }
}

/// What `code` comes to; a panic is an error.
pub(super) async fn caught<T>(code: impl Future<Output = Result<T, ViewError>>) -> Result<T, ViewError> {
    AssertUnwindSafe(code).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))
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
