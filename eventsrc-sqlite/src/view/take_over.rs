//! The take-over: the transaction in which a version becomes the serving version.

use std::panic::resume_unwind;
use std::sync::Arc;

use crossbeam_channel::{Sender, select, unbounded};
use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, Batch, PositionChange, TakeOver};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future::join;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::contract::View;
use super::inner::ViewInner;
use super::rows;
use crate::database::Database;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, BehindRow};
use crate::work::WorkOutcome;

/// Makes the version of `inner` the serving version.
///
/// The writer thread holds the file's write lock, and waits while `catch_up` runs. If the caller drops the future, or if the
/// file is closed, the writer thread rolls everything back.
pub(super) async fn take_over<K, S, E, V, F>(
    database: &Database,
    inner: &Arc<ViewInner<K, S, E, V>>,
    catch_up: impl FnOnce(Vec<PositionChange<S>>) -> F + Send + 'static,
) -> Result<TakeOver, StorageError>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
    F: Future<Output = Result<Batch<K, S, E>, StorageError>> + Send + 'static,
{
    let (request_sender, request) = oneshot::channel::<Vec<BehindRow>>();
    let (batch_sender, batch) = unbounded();
    // The task of the catch-up is dropped when its runtime polls it again. This end is dropped with the caller's future.
    let _caller = BatchSender(batch_sender.clone());
    let batch_sender = BatchSender(batch_sender);
    let closed = database.closed();
    let new_version = Arc::clone(inner);
    let switch = database.transact_alone(move |connection| {
        let fetch = |behind| {
            request_sender.send(behind).ok()?;
            select! {
                recv(batch) -> batch => batch.ok().flatten(),
                recv(closed) -> _ => None,
            }
        };
        new_version.take_over(connection, fetch)
    });
    let fetch = async move {
        // The writer thread drops its sender if nothing is behind.
        let Ok(behind) = request.await else { return Ok(()) };
        let changes = behind.iter().map(rows::position_change).collect::<Result<_, _>>()?;
        let batch = catch_up(changes).await?;
        rows::check_positions(&batch)?;
        batch_sender.send(batch);
        Ok::<_, StorageError>(())
    };
    let (switched, fetched) = join(switch, spawn_if_possible(fetch)).await;
    fetched?;
    match switched {
        Ok(outcome) => Ok(outcome),
        Err(failure) => match failure.constraint_violation() {
            Some(error) => Ok(TakeOver::Rejected(error)),
            None => Err(failure.into()),
        },
    }
}

/// Sender of the batch of a catch-up. Dropping it ends the wait for the batch.
struct BatchSender<B>(Sender<Option<B>>);

impl<B> BatchSender<B> {
    fn send(self, batch: B) {
        // The first message counts.
        let _ = self.0.send(Some(batch));
    }
}

impl<B> Drop for BatchSender<B> {
    fn drop(&mut self) {
        let _ = self.0.send(None);
    }
}

/// Runs `work` as a task of its own if there is a runtime, and otherwise in the caller. The task ends with the caller.
///
/// A caller may wait for something else before it polls this future again, such as a write to the file. Without a task
/// of its own, the take-over would not make progress, and that write would wait for the take-over.
async fn spawn_if_possible(
    work: impl Future<Output = Result<(), StorageError>> + Send + 'static,
) -> Result<(), StorageError> {
    if Handle::try_current().is_err() {
        return work.await;
    }
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await.expect("there is one task") {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(StorageError::new(ErrorKind::Unavailable, "the runtime is being shut down")),
        },
    }
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Takes over on the writer thread. `fetch` returns the commits by which this version is behind, or `None` if the caller
    /// is gone.
    fn take_over(
        &self,
        connection: &Guarded,
        fetch: impl FnOnce(Vec<BehindRow>) -> Option<Batch<K, S, E>>,
    ) -> Result<WorkOutcome<TakeOver>, Failure> {
        let own = self.id(connection)?;
        let serving = layout::serving(connection, self.name())
            .map_err(|error| Failure::new(&self.cannot("switch to"), error))?;
        let Some((before, other)) = serving.filter(|(_, id)| *id != own) else {
            return Ok(WorkOutcome::RollBack(TakeOver::Done));
        };
        let behind = self.behind(connection, own, other)?;
        let quarantined: Vec<StreamName> =
            behind.iter().filter(|row| row.quarantined).filter_map(|row| row.stream.parse().ok()).collect();
        if !quarantined.is_empty() {
            return Ok(WorkOutcome::RollBack(TakeOver::Quarantined(quarantined)));
        }
        if !behind.is_empty() {
            let Some(batch) = fetch(behind) else {
                let what = format!("{}: its catch-up failed or was cancelled", self.cannot("switch to"));
                return Err(Failure::plain(ErrorKind::Unavailable, what));
            };
            match self.apply(connection, &batch)? {
                Applied::Done => {}
                other => return Ok(WorkOutcome::RollBack(other.into())),
            }
            if !self.behind(connection, own, other)?.is_empty() {
                return Ok(WorkOutcome::RollBack(TakeOver::Behind));
            }
        }
        self.replace(connection, before)?;
        Ok(WorkOutcome::Commit(TakeOver::Done))
    }

    /// The followed streams of which this version is behind the other one.
    fn behind(&self, connection: &Connection, own: i64, other: i64) -> Result<Vec<BehindRow>, Failure> {
        let mut rows = layout::behind(connection, own, other)
            .map_err(|error| Failure::new(&self.cannot("switch to"), error))?;
        // A malformed name stays in the list. The conversion for the catch-up reports it.
        rows.retain(|row| {
            row.stream.parse().map_or(true, |name: StreamName| self.definition().follows(name.category()))
        });
        Ok(rows)
    }
}
