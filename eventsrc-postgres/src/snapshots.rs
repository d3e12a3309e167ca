//! Snapshot storage in Postgres.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, ErrorKind, Head, Sequence, Snapshot, StorageError, Timestamp};
use serde::Serialize;

use crate::layout::{SnapshotKey, SnapshotRow, TextOrBytes};
use crate::postgres::Postgres;

/// Snapshot storage for one kind of query in a [`Postgres`]. A name separates it from other kinds. Cheap to clone.
///
/// A query key is stored as JSON, so its type needs `Serialize`, and different keys must have different JSON.
pub struct PostgresSnapshots<K, S, V, C = Json> {
    postgres: Postgres,
    name: Arc<str>,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> V>,
}

impl<K, S, V> PostgresSnapshots<K, S, V> {
    /// Storage in `postgres` for the queries called `name`, with values as JSON.
    pub fn new(postgres: &Postgres, name: &str) -> Self {
        Self::with_codec(postgres, name, Json)
    }
}

impl<K, S, V, C> PostgresSnapshots<K, S, V, C> {
    /// Storage in `postgres` for the queries called `name`, with values encoded by `codec`.
    pub fn with_codec(postgres: &Postgres, name: &str, codec: C) -> Self {
        Self { postgres: postgres.clone(), name: name.into(), codec: Arc::new(codec), types: PhantomData }
    }
}

impl<K, S, V, C> SnapshotStorage for PostgresSnapshots<K, S, V, C>
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
        let key = self.snapshot_key(key, version)?;
        let (connections, layout) = (self.postgres.read_connections(), self.postgres.snapshot_layout());
        let row = match which {
            SnapshotAt::Earliest => layout.earliest(connections, &key).await?,
            SnapshotAt::Latest => layout.latest(connections, &key).await?,
            SnapshotAt::Before(limit) => match i64::try_from(limit.number()) {
                Ok(number) => layout.before(connections, &key, number, limit.zone().0).await?,
                // Every stored sequence is lower.
                Err(_) => layout.latest(connections, &key).await?,
            },
        };
        let Some(row) = row else { return Ok(None) };
        let context = format!("cannot read the snapshot of {} of {}", key.key, key.name);
        let row =
            row.map_err(|reason| StorageError::new(ErrorKind::Corrupt, context.as_str()).because(reason))?;
        self.decode(&row, &context).map(Some)
    }

    async fn put(
        &self,
        key: &K,
        version: u32,
        snapshot: &Snapshot<S, V>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        let Some(head) = snapshot.to_keep() else { return Ok(()) };
        let key = self.snapshot_key(key, version)?;
        let row = self.encode(head, snapshot.value.as_ref())?;
        let (connections, layout) = (self.postgres.read_connections(), self.postgres.snapshot_layout());
        let put = match mode {
            SnapshotMode::Epoch => layout.put_epoch(connections, &key, &row).await,
            SnapshotMode::Cache => layout.put_cached(connections, &key, &row).await,
        };
        put.map_err(|failure| StorageError::from(failure).at(head.sequence))
    }
}

impl<K: Serialize, S: Sequence, V, C: Codec<V>> PostgresSnapshots<K, S, V, C> {
    fn snapshot_key(&self, key: &K, fold_version: u32) -> Result<SnapshotKey, StorageError> {
        let key = serde_json::to_string(key).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "cannot encode the query key as JSON").because(error)
        })?;
        Ok(SnapshotKey { name: self.name.to_string(), key, fold_version: fold_version.into() })
    }

    fn encode(&self, head: Head<S>, value: Option<&V>) -> Result<SnapshotRow, StorageError> {
        let invalid = |what| StorageError::new(ErrorKind::Invalid, what).at(head.sequence);
        let encode = |value| {
            let mut bytes = Vec::new();
            let encoded = self.codec.encode(value, &mut bytes).and_then(|()| self.codec.check(value, &bytes));
            encoded.map_err(|error| invalid("cannot encode the snapshot").because(error))?;
            let value = TextOrBytes::new(self.codec.is_text(), bytes);
            value.map_err(|error| invalid("cannot store the snapshot").because(error))
        };
        Ok(SnapshotRow {
            number: i64::try_from(head.sequence.number())
                .map_err(|_| invalid("the sequence exceeds the largest number that Postgres can store"))?,
            zone: head.sequence.zone().0,
            time: head.time.as_microsecond(),
            commit_id: head.commit_id.map(|id| id.0),
            version: self.codec.version(),
            value: value.map(encode).transpose()?,
        })
    }

    fn decode(&self, row: &SnapshotRow, context: &str) -> Result<Snapshot<S, V>, StorageError> {
        let corrupt = |reason: &str| StorageError::new(ErrorKind::Corrupt, format!("{context}: {reason}"));
        let sequence =
            u64::try_from(row.number).ok().and_then(|number| S::from_parts(number, Zone(row.zone)));
        let sequence = sequence.ok_or_else(|| corrupt("its sequence is not a value of the sequence type"))?;
        let time = Timestamp::from_microsecond(row.time)
            .map_err(|error| corrupt("its time is out of range").at(sequence).because(error))?;
        let value = match &row.value {
            None => None,
            Some(value) if value.is_text() != self.codec.is_text() => {
                return Err(corrupt("it was written by another codec").at(sequence));
            }
            Some(value) => Some(
                self.codec
                    .decode(row.version, value.as_ref())
                    .map_err(|error| corrupt("its value is malformed").at(sequence).because(error))?,
            ),
        };
        Ok(Snapshot::new(value, Some(Head { sequence, time, commit_id: row.commit_id.map(CommitId) })))
    }
}

impl<K, S, V, C> Clone for PostgresSnapshots<K, S, V, C> {
    fn clone(&self) -> Self {
        Self {
            postgres: self.postgres.clone(),
            name: Arc::clone(&self.name),
            codec: Arc::clone(&self.codec),
            types: PhantomData,
        }
    }
}

impl<K, S, V, C> fmt::Debug for PostgresSnapshots<K, S, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSnapshots").field("name", &self.name).finish_non_exhaustive()
    }
}
