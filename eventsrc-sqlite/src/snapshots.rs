//! The snapshot storage in a file.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, ErrorKind, Head, Sequence, Snapshot, StorageError};
use serde::Serialize;

use crate::database::Database;
use crate::job::Job;
use crate::layout::{self, SnapshotKey, SnapshotRow};

/// Snapshots of one kind of query in a [`Database`], identified by a name. Cheap to clone.
///
/// A query key is stored as JSON, so its type needs `Serialize`, and different keys must have different JSON.
pub struct SqliteSnapshots<K, S, V, C = Json> {
    database: Database,
    name: Arc<str>,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> V>,
}

impl<K, S, V> SqliteSnapshots<K, S, V> {
    /// Snapshots in `database` under `name` that encode values as JSON.
    pub fn new(database: &Database, name: &str) -> Self {
        Self::with_codec(database, name, Json)
    }
}

impl<K, S, V, C> SqliteSnapshots<K, S, V, C> {
    /// Snapshots in `database` under `name` that encode values with `codec`.
    pub fn with_codec(database: &Database, name: &str, codec: C) -> Self {
        Self { database: database.clone(), name: name.into(), codec: Arc::new(codec), types: PhantomData }
    }
}

impl<K, S, V, C> SnapshotStorage for SqliteSnapshots<K, S, V, C>
where
    K: Serialize + Send + Sync + 'static,
    S: Sequence,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    type Key = K;
    type Sequence = S;
    type Value = V;

    async fn get(
        &self,
        key: &K,
        version: u32,
        which: SnapshotAt<S>,
    ) -> Result<Option<Snapshot<S, V>>, StorageError> {
        let at = self.at(key, version)?;
        let about = format!("the snapshot {} of {}", at.name, at.key);
        let row = self
            .database
            .read(move |connection| match which {
                SnapshotAt::Earliest => layout::earliest_snapshot(connection, &at),
                SnapshotAt::Latest => layout::latest_snapshot(connection, &at),
                SnapshotAt::Before(limit) => match i64::try_from(limit.number()) {
                    Ok(number) => layout::snapshot_before(connection, &at, number, limit.zone().0),
                    // The limit is greater than every stored sequence.
                    Err(_) => layout::latest_snapshot(connection, &at),
                },
            })
            .await?;
        row.map(|row| self.decode(&row, &about)).transpose()
    }

    async fn put(
        &self,
        key: &K,
        version: u32,
        snapshot: &Snapshot<S, V>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        let Some(head) = snapshot.to_keep() else { return Ok(()) };
        let at = self.at(key, version)?;
        let row = self.encode(head, snapshot.value.as_ref())?;
        self.database
            .write(row.size(), |reply| Job::Snapshot { at, snapshot: row, mode, reply })
            .await
            .map_err(|failure| StorageError::from(failure).at(head.sequence))
    }
}

impl<K: Serialize, S: Sequence, V, C: Codec<V>> SqliteSnapshots<K, S, V, C> {
    fn at(&self, key: &K, fold_version: u32) -> Result<SnapshotKey, StorageError> {
        let key = serde_json::to_string(key).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "the query key cannot be written as JSON").because(error)
        })?;
        Ok(SnapshotKey { name: self.name.to_string(), key, fold_version })
    }

    fn encode(&self, head: Head<S>, value: Option<&V>) -> Result<SnapshotRow, StorageError> {
        let invalid = |what| StorageError::new(ErrorKind::Invalid, what).at(head.sequence);
        let encode = |value| {
            let mut bytes = Vec::new();
            self.codec.encode(value, &mut bytes)?;
            self.codec.check(value, &bytes).map(|()| (self.codec.is_text(), bytes))
        };
        Ok(SnapshotRow {
            number: i64::try_from(head.sequence.number())
                .map_err(|_| invalid("the sequence is past the last one that SQLite can store"))?,
            zone: head.sequence.zone().0,
            time: head.time.as_microsecond(),
            commit_id: head.commit_id.map(|id| id.0),
            version: self.codec.version(),
            value: value
                .map(encode)
                .transpose()
                .map_err(|error| invalid("cannot encode the snapshot").because(error))?,
        })
    }

    fn decode(&self, row: &SnapshotRow, about: &str) -> Result<Snapshot<S, V>, StorageError> {
        let corrupt =
            |why: &str| StorageError::new(ErrorKind::Corrupt, format!("cannot read {about}: {why}"));
        let sequence =
            u64::try_from(row.number).ok().and_then(|number| S::from_parts(number, Zone(row.zone)));
        let sequence = sequence.ok_or_else(|| corrupt("its sequence is not valid for the sequence type"))?;
        let time = eventsrc_core::Timestamp::from_microsecond(row.time)
            .map_err(|error| corrupt("its time is out of range").at(sequence).because(error))?;
        let value = match &row.value {
            None => None,
            Some((text, _)) if *text != self.codec.is_text() => {
                return Err(corrupt("another codec wrote it").at(sequence));
            }
            Some((_, bytes)) => Some(
                self.codec
                    .decode(row.version, bytes)
                    .map_err(|error| corrupt("its value is malformed").at(sequence).because(error))?,
            ),
        };
        let commit_id = row.commit_id.map(CommitId);
        Ok(Snapshot::new(value, Some(Head { sequence, time, commit_id })))
    }
}

impl<K, S, V, C> Clone for SqliteSnapshots<K, S, V, C> {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            name: Arc::clone(&self.name),
            codec: Arc::clone(&self.codec),
            types: PhantomData,
        }
    }
}

impl<K, S, V, C> fmt::Debug for SqliteSnapshots<K, S, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSnapshots").field("name", &self.name).finish_non_exhaustive()
    }
}
