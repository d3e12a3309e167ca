//! One version of a view takes over from another one.

use std::fmt;

use eventsrc_core::{Applied, CatchUp, Sequence, StorageError, StreamKey, StreamName};
use futures::future;
use tokio_postgres::Error;

use super::applying::{Attempt, Stopped};
use super::kept::{Kept, identifiers};
use super::layout::{self, BehindRow, Mark, Moving, Presence};
use super::transaction::Open;
use super::{PostgresView, View, rows};

impl<K, S, E, V> Kept<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: fmt::Debug + Send + Sync + 'static,
    V: View<K, S, E>,
{
    /// Makes this version the one that readers see.
    ///
    /// Nobody else moves a position of the view meanwhile; other views, and readers, go on. Readers wait only for the
    /// switch itself, which comes last; if it is held up by a long one among them, it is given up.
    pub(super) async fn take_over(
        &self,
        catch_up: CatchUp<PostgresView<K, S, E, V>>,
    ) -> Result<Attempt, StorageError> {
        let failure = self.failure("switch to");
        let (open, moving) = self.open("switch to", Presence::Alone).await?;
        let mark = self.begin_alone(&open, &moving).await.map_err(&failure)?;
        let versions = self.versions_in(&open, "switch to").await?;
        let own = versions.iter().find(|row| row.version == self.at().version);
        let own = own.ok_or_else(|| self.retired())?;
        let serving = versions.iter().find(|row| row.serves);
        if own.serves {
            return Ok(Attempt::Answered(Applied::Done));
        }
        let other = serving.map_or(own.id, |serving| serving.id);
        let behind = self.behind(&open, own.id, other).await?;
        if behind.iter().any(|row| row.stopped) {
            return Ok(Attempt::Answered(Applied::Moved));
        }
        if !behind.is_empty() {
            let batch = catch_up(behind.iter().map(rows::behind).collect::<Result<_, _>>()?).await?;
            let moves = rows::moves(&batch)?.filter(|moves| !moves.streams.is_empty());
            let Some(moves) = moves else { return Ok(Attempt::Answered(Applied::Moved)) };
            match self.change(&open, &moving, future::ready(Ok(())), &batch, &moves).await {
                Ok(((), Ok(()))) => {}
                Ok(((), Err(error))) => return self.refused(&open, error).await,
                Err(Stopped::Beginning(error)) => return Err(failure(error)),
                Err(Stopped::Advancing(error)) => return self.stopped(error).map(Attempt::Answered),
            }
            if !self.behind(&open, own.id, other).await?.is_empty() {
                return Ok(Attempt::Answered(Applied::Moved));
            }
        }
        let before = serving.map(|serving| identifiers(&serving.tables)).transpose()?.unwrap_or_default();
        layout::be_patient_with_readers(&open).await.map_err(&failure)?;
        self.layout.versions().serve(&open, self.at().view, own.id).await.map_err(&failure)?;
        self.publish(&open, &before).await?;
        match open.commit(&moving, &mark).await {
            Ok(()) => Ok(Attempt::Answered(Applied::Done)),
            Err(uncommitted) => self.uncommitted(uncommitted),
        }
    }

    /// Begins a transaction, and keeps all others out of the view; if they do not come to an end, it is given up.
    pub(super) async fn begin_alone(&self, open: &Open, moving: &Moving) -> Result<Mark, Error> {
        open.batch_execute(layout::FENCE).await?;
        open.batch_execute(layout::BEGIN).await?;
        layout::be_patient(open).await?;
        moving.enter(open, &self.name).await
    }

    /// The followed streams of which the version that goes by `own` lies behind the one that goes by `other`.
    async fn behind(&self, open: &Open, own: i32, other: i32) -> Result<Vec<BehindRow>, StorageError> {
        let mut rows =
            self.layout.versions().behind(open, own, other).await.map_err(self.failure("switch to"))?;
        // A name that cannot be read is told as that when the moves are made.
        rows.retain(|row| {
            row.stream.parse().map_or(true, |name: StreamName| self.definition.follows(name.category()))
        });
        Ok(rows)
    }
}
