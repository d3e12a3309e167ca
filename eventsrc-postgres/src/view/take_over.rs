//! One version of a view takes over from another one.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{CatchUp, TakeOver};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future;
use tokio_postgres::Error;

use super::applying::{ApplyOutcome, Stopped};
use super::inner::{ViewInner, identifiers};
use super::layout::{self, BehindRow, LockMode, PreparedStatements, TransactionMark};
use super::transaction::OpenTransaction;
use super::{PostgresView, View, rows};

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Makes this version the one that readers see.
    ///
    /// Nobody else moves a position of the view meanwhile; other views, and readers, go on. Readers wait only for the
    /// switch itself, which comes last; if it is held up by a long one among them, it is given up.
    pub(super) async fn take_over(
        &self,
        catch_up: CatchUp<PostgresView<K, S, E, V>>,
    ) -> Result<TakeOver, StorageError> {
        let failure = self.failure("switch to");
        let (open, statements) = self.open("switch to", LockMode::Exclusive).await?;
        let mark = self.begin_alone(&open, &statements).await.map_err(&failure)?;
        let versions = self.versions_in(&open, "switch to").await?;
        let own = versions.iter().find(|row| row.version == self.at().version);
        let own = own.ok_or_else(|| self.retired())?;
        let serving = versions.iter().find(|row| row.serves);
        if own.serves {
            return Ok(TakeOver::Done);
        }
        let other = serving.map_or(own.id, |serving| serving.id);
        let behind = self.behind(&open, own.id, other).await?;
        let stopped = behind.iter().filter(|row| row.stopped).map(rows::behind::<S>);
        let stopped = stopped.map(|change| Ok(change?.stream)).collect::<Result<Vec<_>, StorageError>>()?;
        if !stopped.is_empty() {
            return Ok(TakeOver::Quarantined(stopped));
        }
        if !behind.is_empty() {
            let batch = catch_up(behind.iter().map(rows::behind).collect::<Result<_, _>>()?).await?;
            let moves = rows::moves(&batch)?.filter(|moves| !moves.streams.is_empty());
            let Some(moves) = moves else { return Ok(TakeOver::Behind) };
            match self.change(&open, &statements, future::ready(Ok(())), &batch, &moves).await {
                Ok(((), Ok(()))) => {}
                Ok(((), Err(error))) => return self.not_taken_over(self.refused(&open, error).await?),
                Err(Stopped::Beginning(error)) => return Err(failure(error)),
                Err(Stopped::Advancing(error)) => return self.stopped(error).map(TakeOver::from),
            }
            if !self.behind(&open, own.id, other).await?.is_empty() {
                return Ok(TakeOver::Behind);
            }
        }
        let before = serving.map(|serving| identifiers(&serving.tables)).transpose()?.unwrap_or_default();
        layout::be_patient_with_readers(&open).await.map_err(&failure)?;
        self.layout.versions().serve(&open, self.at().view, own.id).await.map_err(&failure)?;
        self.publish(&open, &before).await?;
        match open.commit(&statements, &mark).await {
            Ok(()) => Ok(TakeOver::Done),
            Err(uncommitted) => self.not_taken_over(self.uncommitted(uncommitted)?),
        }
    }

    /// Outcome of a take-over whose last batch was not applied.
    fn not_taken_over(&self, attempt: ApplyOutcome) -> Result<TakeOver, StorageError> {
        match attempt {
            ApplyOutcome::Answered(applied) => Ok(applied.into()),
            ApplyOutcome::Unexplained(error) => {
                let why = "a statement failed, and the view's code did not return its error";
                Err(self.passing(ErrorKind::Unavailable, why, error))
            }
        }
    }

    /// Begins a transaction, and keeps all others out of the view; if they do not come to an end, it is given up.
    pub(super) async fn begin_alone(
        &self,
        open: &OpenTransaction,
        statements: &PreparedStatements,
    ) -> Result<TransactionMark, Error> {
        open.batch_execute(layout::FENCE).await?;
        open.batch_execute(layout::BEGIN).await?;
        layout::be_patient(open).await?;
        statements.enter(open, &self.name).await
    }

    /// The followed streams of which the version that goes by `own` lies behind the one that goes by `other`.
    async fn behind(
        &self,
        open: &OpenTransaction,
        own: i32,
        other: i32,
    ) -> Result<Vec<BehindRow>, StorageError> {
        let mut rows =
            self.layout.versions().behind(open, own, other).await.map_err(self.failure("switch to"))?;
        // A name that cannot be read is told as that when the moves are made.
        rows.retain(|row| {
            row.stream.parse().map_or(true, |name: StreamName| self.definition.follows(name.category()))
        });
        Ok(rows)
    }
}
