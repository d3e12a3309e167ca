//! One version of a view takes over from another one.

use std::panic::resume_unwind;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Applied, BatchOf, CatchUp, TakeOver};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future::join;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::inner::ViewInner;
use super::{SqliteView, View, rows};
use crate::database::Database;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, BehindRow};
use crate::work::Worked;

/// Makes the version of `kept` the one that readers see.
///
/// The writing thread holds the file's write lock and waits, while `catch_up` runs. If the caller goes away, the thread
/// learns of it and undoes everything.
pub(super) async fn take_over<K, S, E, V>(
    database: &Database,
    kept: &Arc<ViewInner<K, S, E, V>>,
    catch_up: CatchUp<SqliteView<K, S, E, V>>,
) -> Result<TakeOver, StorageError>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    let (ask, asked) = oneshot::channel::<Vec<BehindRow>>();
    let (bring, brought) = oneshot::channel::<BatchOf<SqliteView<K, S, E, V>>>();
    let switching = Arc::clone(kept);
    let switch = database.work_alone(move |connection| {
        let fetch = |behind| {
            ask.send(behind).ok()?;
            brought.blocking_recv().ok()
        };
        switching.take_over(connection, fetch)
    });
    let fetch = async move {
        // Where nothing is asked, the answer is there already.
        let Ok(behind) = asked.await else { return Ok(()) };
        let moves = behind.iter().map(rows::behind).collect::<Result<_, _>>()?;
        let batch = catch_up(moves).await?;
        rows::check(&batch)?;
        drop(bring.send(batch));
        Ok::<_, StorageError>(())
    };
    let (switched, fetched) = join(switch, beside_its_caller(fetch)).await;
    fetched?;
    match switched {
        Ok(applied) => Ok(applied),
        Err(failure) => match failure.broken_rule() {
            Some(error) => Ok(TakeOver::Rejected(error)),
            None => Err(failure.into()),
        },
    }
}

/// Does `work` as a task of its own where there is a runtime: a caller that does something else before it asks how far this
/// is, such as writing to the file, would otherwise wait for itself. The task ends with the caller.
async fn beside_its_caller(
    work: impl Future<Output = Result<(), StorageError>> + Send + 'static,
) -> Result<(), StorageError> {
    if Handle::try_current().is_err() {
        return work.await;
    }
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await.expect("there is one task") {
        Ok(done) => done,
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
    fn take_over(
        &self,
        connection: &Guarded,
        fetch: impl FnOnce(Vec<BehindRow>) -> Option<BatchOf<SqliteView<K, S, E, V>>>,
    ) -> Result<Worked<TakeOver>, Failure> {
        let own = self.id(connection)?;
        let serving = layout::serving(connection, self.name())
            .map_err(|error| Failure::new(&self.cannot("switch to"), error))?;
        let Some((before, other)) = serving.filter(|(_, id)| *id != own) else {
            return Ok(Worked::Undone(TakeOver::Done));
        };
        let behind = self.behind(connection, own, other)?;
        let quarantined: Vec<StreamName> =
            behind.iter().filter(|row| row.quarantined).filter_map(|row| row.stream.parse().ok()).collect();
        if !quarantined.is_empty() {
            return Ok(Worked::Undone(TakeOver::Quarantined(quarantined)));
        }
        if !behind.is_empty() {
            let Some(batch) = fetch(behind) else {
                let what = format!("{}: nobody brings what it lacks", self.cannot("switch to"));
                return Err(Failure::plain(ErrorKind::Unavailable, what));
            };
            match self.apply(connection, &batch)? {
                Applied::Done => {}
                other => return Ok(Worked::Undone(other.into())),
            }
            if !self.behind(connection, own, other)?.is_empty() {
                return Ok(Worked::Undone(TakeOver::Behind));
            }
        }
        self.replace(connection, before)?;
        Ok(Worked::Kept(TakeOver::Done))
    }

    /// The followed streams of which this version lies behind the other one.
    fn behind(&self, connection: &Connection, own: i64, other: i64) -> Result<Vec<BehindRow>, Failure> {
        let mut rows = layout::behind(connection, own, other)
            .map_err(|error| Failure::new(&self.cannot("switch to"), error))?;
        // A name that cannot be read is told as that when the caller is asked.
        rows.retain(|row| {
            row.stream.parse().map_or(true, |name: StreamName| self.definition().follows(name.category()))
        });
        Ok(rows)
    }
}
