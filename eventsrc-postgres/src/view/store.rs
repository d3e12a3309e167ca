//! View store in Postgres.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName, ViewDefinition};

use super::contract::View;
use super::inner::ViewInner;
use super::layout;
use super::rows;
use super::transaction::Transaction;
use crate::postgres::Postgres;

/// Store of one version of a [`View`] in a [`Postgres`]. Cheap to clone.
///
/// Any number of clones and processes may apply batches to the same view. A batch takes two round trips, in addition to
/// those that the view's code waits for.
pub struct PostgresView<K, S, E, V>(pub(super) Arc<ViewInner<K, S, E, V>>);

impl<K, S, E, V> PostgresView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Opens `view` in `postgres`, and creates its tables if they do not exist. The first version of a view serves at once.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Invalid`] if the name of a table is malformed, or the view's code cannot create the tables.
    /// - [`ErrorKind::Refused`] if another view or table has one of the names, this version was created with other tables,
    ///   a table or a public name of it is missing, or the permission to create tables is missing.
    /// - [`ErrorKind::Unavailable`] if the server cannot be reached.
    pub async fn open(postgres: &Postgres, view: V) -> Result<Self, StorageError> {
        let inner = ViewInner::new(postgres, view)?;
        inner.ensure_version().await?;
        Ok(Self(Arc::new(inner)))
    }

    /// Retires this version of `view` without opening it, for example because its tables are missing. It has no effect if
    /// the version does not exist.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Invalid`] if the version serves, or the name of a table is malformed.
    /// - [`ErrorKind::Unavailable`] if the server cannot be reached.
    pub async fn retire_unopened(postgres: &Postgres, view: V) -> Result<(), StorageError> {
        ViewInner::new(postgres, view)?.retire().await
    }

    /// Returns the positions of `streams` and the result of `query`, both from one snapshot of the database and from the
    /// serving version.
    ///
    /// All statements are pipelined, so a read whose query is one prepared statement takes one round trip. The query may
    /// only read, and must not keep the transaction, which ends with it. The query runs again if an idle connection turns
    /// out to be broken, or another version takes over. If the read is dropped, the server cancels its statement.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use eventsrc_core::{StorageError, StreamName};
    /// # use eventsrc_postgres::{PostgresView, View};
    /// # async fn name<V: View<StreamName, u64, String>>(
    /// #     users: PostgresView<StreamName, u64, String, V>,
    /// #     id: &str,
    /// # ) -> Result<(), StorageError> {
    /// let (_, name) = users
    ///     .read(&[], |transaction| async move {
    ///         let find = transaction.prepare_cached("SELECT name FROM users WHERE id = $1").await?;
    ///         let row = transaction.query_opt(&find, &[&id]).await?;
    ///         row.map(|row| row.try_get::<_, String>(0)).transpose()
    ///     })
    ///     .await?;
    /// # let _ = name;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the query fails or tries to write; [`ErrorKind::Refused`] if a table, a column, a public
    /// name or another object is missing; otherwise as for [`positions_of`](ViewStore::positions_of).
    pub async fn read<T, Q>(
        &self,
        streams: &[StreamName],
        query: impl Fn(Transaction) -> Q,
    ) -> Result<(Vec<StreamPosition<S>>, T), StorageError>
    where
        Q: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.0.read(streams, query).await
    }
}

impl<K, S, E, V> ViewStore for PostgresView<K, S, E, V>
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
        &self.0.definition
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        self.0.apply(batch).await
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let (key, keys) = (self.0.version_key(), rows::keys(streams));
        let found = layout.positions.of_streams(postgres.connections(), key, &keys).await?;
        rows::positions_of(streams, &found)
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, S)>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let after = layout::key(after.map_or("", StreamName::as_str));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (connections, key) = (postgres.connections(), self.0.version_key());
        let found = layout.positions.after(connections, key, &after, limit).await?;
        let found = layout.long_names.resolve(connections, found, |(stream, _)| stream).await?;
        found.into_iter().map(|(stream, row)| rows::position(&stream, row)).collect()
    }

    async fn quarantine(&self, entry: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        let row = rows::quarantine_row(entry)?;
        let connection = self.0.postgres.connection().await?;
        let written = async {
            self.0.layout.long_names.record(&connection, [entry.stream.as_str()]).await?;
            self.0.layout.records.quarantine(&connection, self.0.version_key(), &row).await
        };
        let written = connection.answer(written).await.map_err(|silence| self.0.silence("write", silence))?;
        written.map_err(|error| {
            if layout::misses_the_version(&error) {
                return self.0.retired().because(error);
            }
            self.0.failure("write")(error).on(&entry.stream)
        })
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let found = layout.records.quarantined(postgres.connections(), self.0.version_key()).await?;
        let found = layout.long_names.resolve(postgres.connections(), found, |row| &mut row.stream).await?;
        found.into_iter().map(rows::quarantined_commit).collect()
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        let connection = self.0.postgres.connection().await?;
        let key = self.0.version_key();
        let stream_key = layout::key(stream.as_str());
        let released = self.0.layout.records.release(&connection, key, &stream_key);
        let released =
            connection.answer(released).await.map_err(|silence| self.0.silence("write", silence))?;
        released.map_err(|error| self.0.failure("write")(error).on(stream))
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let Some(row) = rows::skip_row(skip)? else { return Ok(false) };
        loop {
            let attempt = self.0.in_transaction("write", |open| self.0.attempt_to_skip(open, skip, &row));
            match attempt.await? {
                Some(skipped) => return Ok(skipped),
                None => self.0.wait_for_lock().await?,
            }
        }
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let found = layout.records.skipped(postgres.connections(), self.0.version_key()).await?;
        let found = layout.long_names.resolve(postgres.connections(), found, |row| &mut row.stream).await?;
        found.into_iter().map(rows::skip).collect()
    }

    async fn version_of_readers(&self) -> Result<Option<u32>, StorageError> {
        self.serving().await.map(Some)
    }
}

impl<K, S, E, V> VersionedStore for PostgresView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    async fn serving(&self) -> Result<u32, StorageError> {
        let versions = self.0.versions().await?;
        let serving = versions.iter().find(|version| version.serves);
        let version = serving.and_then(|serving| u32::try_from(serving.version).ok());
        version.ok_or_else(|| {
            let what = format!("no version of the view {} serves", self.0.definition.name());
            StorageError::new(ErrorKind::Corrupt, what)
        })
    }

    async fn take_over(&self, catch_up: CatchUp<Self>) -> Result<TakeOver, StorageError> {
        self.0.take_over(catch_up).await
    }

    async fn retire(&self) -> Result<(), StorageError> {
        self.0.retire().await
    }

    async fn digest(&self) -> Result<ViewDigest, StorageError> {
        self.0.digest().await
    }
}

impl<K, S, E, V> Clone for PostgresView<K, S, E, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, S, E, V> fmt::Debug for PostgresView<K, S, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresView").field("inner", &self.0).finish_non_exhaustive()
    }
}
