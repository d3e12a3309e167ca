//! The store of a view in a file.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName, ViewDefinition};
use rusqlite::Connection;

use super::contract::View;
use super::inline::{FollowingView, InlineView};
use super::inner::ViewInner;
use super::{rows, take_over};
use crate::database::Database;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, StreamPositionRow};
use crate::work::WorkOutcome;

/// One version of one [`View`], stored in a [`Database`]: in the file of the events or in another file. Cheap to clone.
///
/// Batches that are applied at the same time share one disk sync, with each other and with commits. Other processes may
/// have the same view open.
///
/// A take-over holds the file's write lock while its catch-up runs. The catch-up must therefore not wait for another write
/// to the file. On a tokio runtime the catch-up runs as a task of its own, for as long as the caller keeps the future of
/// the take-over.
pub struct SqliteView<K, S, E, V> {
    pub(super) database: Database,
    pub(super) inner: Arc<ViewInner<K, S, E, V>>,
}

impl<K, S, E, V> SqliteView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Opens `view` in `database`, and creates its tables if they do not exist. The first version of a view becomes the
    /// serving version at once.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Invalid` if the name of a table is malformed, or if the view's code cannot create the tables.
    /// - `ErrorKind::Refused` if another view or table has one of the names, if this version was created with other tables,
    ///   if a table or a public name of it is missing, or if the disk is full.
    /// - `ErrorKind::Unavailable` if the file is locked for longer than the busy timeout.
    pub async fn open(database: &Database, view: V) -> Result<Self, StorageError> {
        let inner = Arc::new(ViewInner::new(view)?);
        let opened = Arc::clone(&inner);
        database.transact_alone(move |connection| opened.open(connection)).await?;
        Ok(Self { database: database.clone(), inner })
    }

    /// Retires this version of `view` without opening it, for example because its tables are missing. It has no effect if
    /// the version does not exist.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Invalid` if the version serves, or the name of a table is malformed.
    /// - `ErrorKind::Unavailable` if the file is locked for longer than the busy timeout.
    pub async fn retire_unopened(database: &Database, view: V) -> Result<(), StorageError> {
        let inner = ViewInner::new(view)?;
        Ok(database.transact_alone(move |connection| inner.retire(connection)).await?)
    }

    /// Runs `query`, and returns its result and the positions of `streams`. Both are of one state of the file and of the
    /// serving version, whichever version this is. The query may only read. Dropping the future interrupts the query.
    ///
    /// Queries run on reader threads of their own ([`Settings::view_readers`](crate::Settings::view_readers)). While a query
    /// runs, the write-ahead log of the file cannot be reused, so a long query lets it grow.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Invalid` if the query fails or tries to write.
    /// - `ErrorKind::Refused` if a table, a column or another object that the query names is missing.
    /// - `ErrorKind::Unavailable` if the file cannot be read at the moment, and `ErrorKind::Corrupt` if it is damaged.
    /// - `ErrorKind::Overloaded` if too many queries wait.
    ///
    /// # Panics
    ///
    /// If `query` panics.
    pub async fn read<T: Send + 'static>(
        &self,
        streams: &[StreamName],
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(Vec<StreamPosition<S>>, T), StorageError> {
        let (inner, names) = (Arc::clone(&self.inner), streams.to_vec());
        let read = move |connection: &Guarded| {
            let _transaction = connection.read_transaction()?;
            let serving = layout::serving(connection, inner.name()).map_err(unreadable)?;
            let positions = match serving {
                Some((_, id)) => position_rows(connection, id, &names).map_err(unreadable)?,
                None => vec![StreamPositionRow::default(); names.len()],
            };
            let result = connection.lend(|connection| Ok(query(connection)?)).map_err(|error| {
                Failure::from_user_code("cannot read the view", error).unwrap_or_else(|error| {
                    Failure::plain(ErrorKind::Invalid, "the query of the view failed").because(error)
                })
            })?;
            Ok((positions, result))
        };
        let (positions, result) = self.database.read_view(read).await?;
        Ok((rows::stream_positions(streams, &positions)?, result))
    }

    /// This view, applied in the transactions that store commits in `database`.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Invalid` if the view was opened in another database.
    pub(crate) fn inline(&self, database: &Database) -> Result<Arc<dyn InlineView<K, S, E>>, StorageError> {
        if self.database.shares(database) {
            return Ok(Arc::new(FollowingView(Arc::clone(&self.inner))));
        }
        let what = format!("the view {} was opened in another database", self.inner.definition());
        Err(StorageError::new(ErrorKind::Invalid, what))
    }

    /// Runs `read` with the row id of this version. Returns `absent` if the version was retired.
    async fn read_version<T: Send + 'static>(
        &self,
        absent: T,
        read: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.inner);
        let read = move |connection: &Guarded| {
            let _transaction = connection.read_transaction()?;
            let id = layout::version(connection, inner.name(), inner.version()).map_err(unreadable)?;
            match id {
                Some(id) => read(connection, id).map_err(unreadable),
                None => Ok(absent),
            }
        };
        Ok(self.database.read_guarded(read).await?)
    }

    /// Runs `change` on the writer thread, with the row id of this version.
    async fn change_version<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection, i64) -> rusqlite::Result<WorkOutcome<T>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.inner);
        let work = move |connection: &Guarded| change(connection, inner.id(connection)?).map_err(unwritable);
        Ok(self.database.transact(work).await?)
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
        self.inner.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        rows::check_positions(batch)?;
        let (inner, batch) = (Arc::clone(&self.inner), batch.clone());
        let work = move |connection: &Guarded| {
            Ok(match inner.apply(connection, &batch)? {
                Applied::Done => WorkOutcome::Commit(Applied::Done),
                other => WorkOutcome::RollBack(other),
            })
        };
        match self.database.transact(work).await {
            Ok(applied) => Ok(applied),
            // SQLite checks deferred constraints at the end of the transaction.
            Err(failure) => match failure.constraint_violation() {
                Some(error) => Ok(Applied::Rejected(error)),
                None => Err(failure.into()),
            },
        }
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError> {
        let names = streams.to_vec();
        let absent = vec![StreamPositionRow::default(); streams.len()];
        let positions =
            self.read_version(absent, move |connection, id| position_rows(connection, id, &names)).await?;
        rows::stream_positions(streams, &positions)
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
        found.into_iter().map(|(stream, row)| rows::named_position(&stream, row)).collect()
    }

    async fn quarantine(&self, commit: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        let row = rows::quarantine_row(commit)?;
        self.change_version(move |connection, id| {
            layout::quarantine(connection, id, &row).map(WorkOutcome::Commit)
        })
        .await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        let found = self.read_version(Vec::new(), layout::quarantined).await?;
        found.into_iter().map(rows::quarantined_commit).collect()
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        let stream = stream.as_str().to_owned();
        self.change_version(move |connection, id| {
            layout::release(connection, id, &stream).map(WorkOutcome::Commit)
        })
        .await
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let row = rows::skip_row(skip)?;
        self.change_version(move |connection, id| {
            layout::release(connection, id, &row.stream)?;
            if !layout::PositionUpdater::new(connection, id)?.advance(&row.stream, row.from, row.to)? {
                return Ok(WorkOutcome::RollBack(false));
            }
            layout::record_skip(connection, id, &row)?;
            Ok(WorkOutcome::Commit(true))
        })
        .await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        let found = self.read_version(Vec::new(), layout::skipped).await?;
        found.into_iter().map(rows::skipped_commits).collect()
    }

    async fn version_of_readers(&self) -> Result<Option<u32>, StorageError> {
        self.serving().await.map(Some)
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
        let inner = Arc::clone(&self.inner);
        let serving = self.database.read(move |connection| layout::serving(connection, inner.name())).await?;
        serving.map(|(version, _)| version).ok_or_else(|| {
            let what = format!("the view {} has no serving version", self.inner.name());
            StorageError::new(ErrorKind::Corrupt, what)
        })
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        take_over::take_over(&self.database, &self.inner, catch_up).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        let inner = Arc::clone(&self.inner);
        Ok(self.database.transact_alone(move |connection| inner.retire(connection)).await?)
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        let inner = Arc::clone(&self.inner);
        let read = move |connection: &Guarded| {
            let _transaction = connection.read_transaction()?;
            inner.digest(connection)
        };
        Ok(self.database.read_view(read).await?)
    }
}

fn position_rows(
    connection: &Connection,
    id: i64,
    streams: &[StreamName],
) -> rusqlite::Result<Vec<StreamPositionRow>> {
    streams.iter().map(|stream| layout::position_of(connection, id, stream.as_str())).collect()
}

fn unreadable(error: rusqlite::Error) -> Failure {
    Failure::new("cannot read the view", error)
}

fn unwritable(error: rusqlite::Error) -> Failure {
    Failure::new("cannot write the view", error)
}

impl<K, S, E, V> Clone for SqliteView<K, S, E, V> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), inner: Arc::clone(&self.inner) }
    }
}

impl<K, S, E, V> fmt::Debug for SqliteView<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteView").field("inner", &self.inner).finish_non_exhaustive()
    }
}
