//! What keeps a view in Postgres.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{
    Applied, BatchOf, CatchUp, QuarantinedCommit, SkippedCommits, StreamPosition, TakeOver, VersionedStore,
    ViewDigest, ViewStore,
};
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName, ViewDefinition};

use super::inner::ViewInner;
use super::layout::{self, LockMode};
use super::{Transaction, View, rows};
use crate::postgres::Postgres;

/// One version of one [`View`], kept in a [`Postgres`]. Cheap to clone.
///
/// Any number of clones, and of other processes, may keep the same view. A batch takes two round trips and those that
/// the view's code waits for by itself.
pub struct PostgresView<K, S, E, V>(Arc<ViewInner<K, S, E, V>>);

impl<K, S, E, V> PostgresView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Opens `view` in `postgres`, and makes its tables if they are not there. The first version that is ever opened serves
    /// at once.
    ///
    /// # Errors
    ///
    /// `Invalid` if a table's name is malformed, or its code cannot make the tables; `Refused` if another view or table has
    /// one of the names, this very version was made with other tables, or the permission to make tables is missing;
    /// `Unavailable` if the server cannot be reached.
    pub async fn open(postgres: &Postgres, view: V) -> Result<Self, StorageError> {
        let kept = ViewInner::new(postgres, view)?;
        kept.make().await?;
        Ok(Self(Arc::new(kept)))
    }

    /// What `query` reads, and where these streams were at that moment: both as of one state of the database, and of the
    /// version that serves.
    ///
    /// All of it is on its way at once, so that a read whose query is one prepared statement takes one round trip. The
    /// query may only read, and must not keep the transaction, which ends with it. It may be run again, if a connection broke
    /// while nobody used it, or another version takes over.
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
    /// `Invalid` if the query fails or tries to write; otherwise as for places.
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
        let found = layout.positions_of(postgres.connections(), self.0.at(), &rows::names(streams)).await?;
        rows::positions_of(streams, &found)
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, S)>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let after = after.map_or("", StreamName::as_str);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = layout.positions(postgres.connections(), self.0.at(), after, limit).await?;
        found.into_iter().map(|(stream, row)| rows::position(&stream, row)).collect()
    }

    async fn quarantine(&self, poison: &QuarantinedCommit<S>) -> Result<(), StorageError> {
        let row = rows::quarantine_row(poison)?;
        let connection = self.0.postgres.connection().await?;
        self.0.layout.records().quarantine(&connection, self.0.at(), &row).await.map_err(|error| {
            if layout::lacks_the_version(&error) {
                return self.0.retired().because(error);
            }
            self.0.failure("write")(error).on(&poison.stream)
        })
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<S>>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let found = layout.records().quarantined(postgres.connections(), self.0.at()).await?;
        found.into_iter().map(rows::poison).collect()
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        let connection = self.0.postgres.connection().await?;
        let released = self.0.layout.records().release(&connection, self.0.at(), stream.as_str()).await;
        released.map_err(|error| self.0.failure("write")(error).on(stream))
    }

    async fn skip(&self, skip: &SkippedCommits<S>) -> Result<bool, StorageError> {
        let Some(row) = rows::skip_row(skip)? else { return Ok(false) };
        let kept = &*self.0;
        let failure = |error| kept.failure("write")(error).on(&skip.change.stream);
        let (open, statements, mark) = loop {
            let (open, statements) = kept.open("write", LockMode::Shared).await?;
            match open.begin(&statements, &kept.name).await {
                Ok(mark) => break (open, statements, mark),
                Err(error) if layout::is_locked(&error) => drop(open),
                Err(error) => return Err(failure(error)),
            }
            kept.wait().await?;
        };
        match kept.layout.records().skip(&open, kept.at(), &row).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if layout::lacks_the_version(&error) => return Err(kept.retired().because(error)),
            Err(error) => return Err(failure(error)),
        }
        let committed = open.commit(&statements, &mark).await;
        committed.map_err(|uncommitted| kept.not_committed("write", uncommitted).on(&skip.change.stream))?;
        Ok(true)
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<S>>, StorageError> {
        let ViewInner { layout, postgres, .. } = &*self.0;
        let found = layout.records().skipped(postgres.connections(), self.0.at()).await?;
        found.into_iter().map(rows::skip).collect()
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
        f.debug_struct("PostgresView").field("kept", &self.0).finish_non_exhaustive()
    }
}
