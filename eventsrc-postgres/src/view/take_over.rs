//! Take-over (cutover) from one version of a view to another.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{CatchUp, TakeOver};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future;
use tokio_postgres::Error;

use super::applying::{ApplyOutcome, StatementError};
use super::contract::View;
use super::inner::ViewInner;
use super::layout::{self, BehindRow, LockMode, PreparedStatements, TransactionMark};
use super::open_transaction::OpenTransaction;
use super::store::PostgresView;
use super::{rows, table_names};

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Makes this version the serving one.
    ///
    /// No other transaction changes a position of the view in the meantime; other views and readers continue. Readers wait
    /// only for the switch of the public names, which comes last. If a long read blocks the switch, the take-over fails.
    pub(super) async fn take_over(
        &self,
        catch_up: CatchUp<PostgresView<K, S, E, V>>,
    ) -> Result<TakeOver, StorageError> {
        match self.in_transaction("switch to", |open| self.take_over_in(open, catch_up)).await? {
            TakeOver::Rejected(error) => match self.missing_table().await? {
                Some(missing) => Err(self.missing("switch to", &missing).because(error)),
                None => Ok(TakeOver::Rejected(error)),
            },
            outcome => Ok(outcome),
        }
    }

    async fn take_over_in(
        &self,
        open: OpenTransaction,
        catch_up: CatchUp<PostgresView<K, S, E, V>>,
    ) -> Result<TakeOver, StorageError> {
        let failure = self.failure("switch to");
        let statements = self.prepare(&open, "switch to", LockMode::Exclusive).await?;
        let mark = self.begin_exclusive(&open, &statements).await.map_err(&failure)?;
        let versions = self.versions_in(&open, "switch to").await?;
        let own = versions.iter().find(|row| row.version == self.version_key().version);
        let own = own.ok_or_else(|| self.retired())?;
        let serving = versions.iter().find(|row| row.serves);
        if own.serves {
            return Ok(TakeOver::Done);
        }
        let other = serving.map_or(own.id, |serving| serving.id);
        let behind = self.behind(&open, own.id, other).await?;
        let quarantined = behind.iter().filter(|row| row.quarantined).map(rows::behind::<S>);
        let quarantined =
            quarantined.map(|change| Ok(change?.stream)).collect::<Result<Vec<_>, StorageError>>()?;
        if !quarantined.is_empty() {
            return Ok(TakeOver::Quarantined(quarantined));
        }
        if !behind.is_empty() {
            let batch = catch_up(behind.iter().map(rows::behind).collect::<Result<_, _>>()?).await?;
            let changes = rows::changes(&batch)?.filter(|changes| !changes.streams.is_empty());
            let Some(changes) = changes else { return Ok(TakeOver::Behind) };
            self.record_long_names(&open, "switch to", &batch).await?;
            match self.write(&open, &statements, future::ready(Ok(())), &batch, &changes).await {
                Ok(((), Ok(()))) => {}
                Ok(((), Err(error))) => {
                    return self.after_failed_batch(self.after_code_error(&open, error).await?);
                }
                Err(StatementError::Begin(error)) => return Err(failure(error)),
                Err(StatementError::Advance(error)) => {
                    return self.after_advance_error(error).map(TakeOver::from);
                }
            }
            if !self.behind(&open, own.id, other).await?.is_empty() {
                return Ok(TakeOver::Behind);
            }
        }
        let before =
            serving.map(|serving| table_names::from_row(&serving.tables)).transpose()?.unwrap_or_default();
        layout::limit_reader_lock_wait(&open).await.map_err(&failure)?;
        self.layout.versions.serve(&open, self.version_key().view, own.id).await.map_err(&failure)?;
        self.publish(&open, &before).await?;
        match open.commit(&statements, &mark).await {
            Ok(()) => Ok(TakeOver::Done),
            Err(error) => self.after_failed_batch(self.after_commit_error(error)?),
        }
    }

    /// Outcome of a take-over whose last batch was not applied.
    fn after_failed_batch(&self, outcome: ApplyOutcome) -> Result<TakeOver, StorageError> {
        match outcome {
            ApplyOutcome::Answered(applied) => Ok(applied.into()),
            ApplyOutcome::Unexplained(error) => {
                let reason = "a statement failed, and the view's code did not return its error";
                Err(self.transient_error(ErrorKind::Unavailable, reason, error))
            }
        }
    }

    /// Begins a transaction, and waits for the lock of the view in exclusive mode. Fails if other transactions hold the lock
    /// for too long.
    pub(super) async fn begin_exclusive(
        &self,
        open: &OpenTransaction,
        statements: &PreparedStatements,
    ) -> Result<TransactionMark, Error> {
        open.batch_execute(layout::READ_ONLY).await?;
        open.batch_execute(layout::BEGIN).await?;
        layout::limit_lock_wait(open).await?;
        statements.enter(open, &self.lock_name).await
    }

    /// Followed streams in which the version with the id `own` is behind the version with the id `other`.
    async fn behind(
        &self,
        open: &OpenTransaction,
        own: i32,
        other: i32,
    ) -> Result<Vec<BehindRow>, StorageError> {
        let failure = self.failure("switch to");
        let rows = self.layout.versions.behind(open, own, other).await.map_err(&failure)?;
        let rows = self.layout.long_names.resolve_with(open, rows, |row| &mut row.stream).await;
        let mut rows = rows.map_err(&failure)?;
        // A malformed name is kept here, and reported when the position changes are made.
        rows.retain(|row| {
            row.stream.parse().map_or(true, |name: StreamName| self.definition.follows(name.category()))
        });
        Ok(rows)
    }
}
