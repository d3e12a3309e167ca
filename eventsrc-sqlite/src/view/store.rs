//! What keeps a view in a file.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName, ViewDefinition};
use rusqlite::Connection;

use super::inline::{Follower, InTheAppend};
use super::inner::ViewInner;
use super::{View, rows, take_over};
use crate::database::Database;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, StreamPositionRow};
use crate::work::Worked;

/// One version of one [`View`], kept in a [`Database`]: in the file of the events, or in another one. Cheap to clone.
///
/// Many batches that are applied at the same time share one sync, with each other and with commits. Other processes
/// may have the same view open. While a version takes over, whatever else is written to the file waits; so what brings
/// the commits that it lacks must not wait for something that is written there. On a tokio runtime that goes on by itself, as
/// long as its caller keeps the future.
pub struct SqliteView<K, S, E, V> {
    database: Database,
    kept: Arc<ViewInner<K, S, E, V>>,
}

impl<K, S, E, V> SqliteView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Opens `view` in `database`, and makes its tables if they are not there. The first version that is ever opened serves
    /// at once.
    ///
    /// # Errors
    ///
    /// `Invalid` if a table's name is malformed, or its code cannot make the tables; `Refused` if another view or table has
    /// one of the names, or this very version was made with other tables; otherwise as for writing.
    pub async fn open(database: &Database, view: V) -> Result<Self, StorageError> {
        let kept = Arc::new(ViewInner::new(view)?);
        let opened = Arc::clone(&kept);
        database.work_alone(move |connection| opened.open(connection)).await?;
        Ok(Self { database: database.clone(), kept })
    }

    /// What `query` reads, and where these streams were at that moment: both as of one state of the file, and of the version
    /// that serves. The query may only read.
    ///
    /// # Errors
    ///
    /// `Invalid` if the query fails or tries to write; otherwise as for reading.
    pub async fn read<T: Send + 'static>(
        &self,
        streams: &[StreamName],
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(Vec<StreamPosition<S>>, T), StorageError> {
        let (kept, names) = (Arc::clone(&self.kept), streams.to_vec());
        let read = move |connection: &Guarded| {
            let _state = connection.one_state()?;
            let serving = layout::serving(connection, kept.name()).map_err(unreadable)?;
            let places = match serving {
                Some((_, id)) => place_rows(connection, id, &names).map_err(unreadable)?,
                None => vec![StreamPositionRow::default(); names.len()],
            };
            let rows = connection.lend(|connection| Ok(query(connection)?)).map_err(|error| {
                Failure::of_code("cannot read the view", error).unwrap_or_else(|error| {
                    Failure::plain(ErrorKind::Invalid, "the query of the view fails").because(error)
                })
            })?;
            Ok((places, rows))
        };
        let (places, found) = self.database.read_guarded(read).await?;
        Ok((rows::positions_of(streams, &places)?, found))
    }

    /// What applies the view in the transactions in which events are stored in `database`.
    pub(crate) fn follower(&self, database: &Database) -> Result<Arc<dyn Follower<K, S, E>>, StorageError> {
        if self.database.shares(database) {
            return Ok(Arc::new(InTheAppend(Arc::clone(&self.kept))));
        }
        let what = format!("the view {} is kept in another database", self.kept.definition());
        Err(StorageError::new(ErrorKind::Invalid, what))
    }

    /// Reads what is kept of this version; `absent` if it was retired.
    async fn read_version<T: Send + 'static>(
        &self,
        absent: T,
        read: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let kept = Arc::clone(&self.kept);
        let read = move |connection: &Guarded| {
            let _state = connection.one_state()?;
            let id = layout::version(connection, kept.name(), kept.version()).map_err(unreadable)?;
            match id {
                Some(id) => read(connection, id).map_err(unreadable),
                None => Ok(absent),
            }
        };
        Ok(self.database.read_guarded(read).await?)
    }

    /// Changes what is kept of this version.
    async fn change_version<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection, i64) -> rusqlite::Result<Worked<T>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let kept = Arc::clone(&self.kept);
        let work = move |connection: &Guarded| change(connection, kept.id(connection)?).map_err(unwritable);
        Ok(self.database.work(work).await?)
    }
}

impl<K, S, E, V> ViewStore for SqliteView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    fn definition(&self) -> &ViewDefinition {
        self.kept.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        rows::check(batch)?;
        let (kept, batch) = (Arc::clone(&self.kept), batch.clone());
        let work = move |connection: &Guarded| {
            Ok(match kept.apply(connection, &batch)? {
                Applied::Done => Worked::Kept(Applied::Done),
                other => Worked::Undone(other),
            })
        };
        match self.database.work(work).await {
            Ok(applied) => Ok(applied),
            // Some rules are checked at the end of a transaction only.
            Err(failure) => match failure.broken_rule() {
                Some(error) => Ok(Applied::Rejected(error)),
                None => Err(failure.into()),
            },
        }
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError> {
        let names = streams.to_vec();
        let nowhere = vec![StreamPositionRow::default(); streams.len()];
        let places =
            self.read_version(nowhere, move |connection, id| place_rows(connection, id, &names)).await?;
        rows::positions_of(streams, &places)
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, S)>, StorageError> {
        let after = after.map_or("", StreamName::as_str).to_owned();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self
            .read_version(Vec::new(), move |connection, id| layout::positions(connection, id, &after, limit))
            .await?;
        found.into_iter().map(|(stream, row)| rows::position(&stream, row)).collect()
    }

    async fn quarantine(&self, poison: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        let row = rows::quarantine_row(poison)?;
        self.change_version(move |connection, id| layout::quarantine(connection, id, &row).map(Worked::Kept))
            .await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        let found = self.read_version(Vec::new(), layout::quarantined).await?;
        found.into_iter().map(rows::poison).collect()
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        let stream = stream.as_str().to_owned();
        self.change_version(move |connection, id| layout::release(connection, id, &stream).map(Worked::Kept))
            .await
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let row = rows::skip_row(skip)?;
        self.change_version(move |connection, id| {
            layout::release(connection, id, &row.stream)?;
            if !layout::Mover::new(connection, id)?.advance(&row.stream, row.from, row.to)? {
                return Ok(Worked::Undone(false));
            }
            layout::record_skip(connection, id, &row)?;
            Ok(Worked::Kept(true))
        })
        .await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        let found = self.read_version(Vec::new(), layout::skipped).await?;
        found.into_iter().map(rows::skip).collect()
    }
}

impl<K, S, E, V> VersionedStore for SqliteView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    async fn serving(&self) -> Result<u32, StorageError> {
        let kept = Arc::clone(&self.kept);
        let serving = self.database.read(move |connection| layout::serving(connection, kept.name())).await?;
        serving.map(|(version, _)| version).ok_or_else(|| {
            let what = format!("no version of the view {} serves", self.kept.name());
            StorageError::new(ErrorKind::Corrupt, what)
        })
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        take_over::take_over(&self.database, &self.kept, catch_up).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        let kept = Arc::clone(&self.kept);
        Ok(self.database.work_alone(move |connection| kept.retire(connection)).await?)
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        let kept = Arc::clone(&self.kept);
        let read = move |connection: &Guarded| {
            let _state = connection.one_state()?;
            kept.digest(connection)
        };
        Ok(self.database.read_guarded(read).await?)
    }
}

fn place_rows(
    connection: &Connection,
    id: i64,
    streams: &[StreamName],
) -> rusqlite::Result<Vec<StreamPositionRow>> {
    streams.iter().map(|stream| layout::place(connection, id, stream.as_str())).collect()
}

fn unreadable(error: rusqlite::Error) -> Failure {
    Failure::new("cannot read the view", error)
}

fn unwritable(error: rusqlite::Error) -> Failure {
    Failure::new("cannot write the view", error)
}

impl<K, S, E, V> Clone for SqliteView<K, S, E, V> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), kept: Arc::clone(&self.kept) }
    }
}

impl<K, S, E, V> fmt::Debug for SqliteView<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteView").field("kept", &self.kept).finish_non_exhaustive()
    }
}
