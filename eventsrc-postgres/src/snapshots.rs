//! Snapshots in Postgres.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::stream::Zone;
use eventsrc_core::{ErrorKind, Head, Sequence, Snapshot, StorageError, Timestamp};
use serde::Serialize;

use crate::layout::{Bytes, SnapshotKey, SnapshotRow};
use crate::postgres::Postgres;

/// The snapshots of one kind of query in a [`Postgres`], which are told from others by a name. Cheap to clone.
///
/// A query key is kept as its JSON, so a key type needs `Serialize`, and keys that differ must differ in it.
pub struct PostgresSnapshots<K, S, V, C = Json> {
    postgres: Postgres,
    name: Arc<str>,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> V>,
}

impl<K, S, V> PostgresSnapshots<K, S, V> {
    /// Snapshots of `postgres` under `name`, as JSON.
    pub fn new(postgres: &Postgres, name: &str) -> Self {
        Self::with_codec(postgres, name, Json)
    }
}

impl<K, S, V, C> PostgresSnapshots<K, S, V, C> {
    /// Snapshots of `postgres` under `name`, as `codec` writes them.
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
        let at = self.at(key, version)?;
        let (connections, layout) = (self.postgres.reading(), self.postgres.snapshot_layout());
        let row = match which {
            SnapshotAt::Earliest => layout.earliest(connections, &at).await?,
            SnapshotAt::Latest => layout.latest(connections, &at).await?,
            SnapshotAt::Before(limit) => match i64::try_from(limit.number()) {
                Ok(number) => layout.before(connections, &at, number, limit.zone().0).await?,
                // Greater than any that is kept.
                Err(_) => layout.latest(connections, &at).await?,
            },
        };
        let Some(row) = row else { return Ok(None) };
        let about = format!("the snapshot of {} of {}", at.key, at.name);
        let row = row.map_err(|why| {
            StorageError::new(ErrorKind::Corrupt, format!("cannot read {about}")).because(why)
        })?;
        self.decode(&row, &about).map(Some)
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
        let (connections, layout) = (self.postgres.reading(), self.postgres.snapshot_layout());
        let put = match mode {
            SnapshotMode::Epoch => layout.put_epoch(connections, &at, &row).await,
            SnapshotMode::Cache => layout.put_cached(connections, &at, &row).await,
        };
        put.map_err(|failure| StorageError::from(failure).at(head.sequence))
    }
}

impl<K: Serialize, S: Sequence, V, C: Codec<V>> PostgresSnapshots<K, S, V, C> {
    fn at(&self, key: &K, fold_version: u32) -> Result<SnapshotKey, StorageError> {
        let key = serde_json::to_string(key).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "the query key cannot be written as JSON").because(error)
        })?;
        Ok(SnapshotKey { name: self.name.to_string(), key, fold_version: fold_version.into() })
    }

    fn encode(&self, head: Head<S>, value: Option<&V>) -> Result<SnapshotRow, StorageError> {
        let invalid = |what| StorageError::new(ErrorKind::Invalid, what).at(head.sequence);
        let encode = |value| {
            let mut bytes = Vec::new();
            let encoded = self.codec.encode(value, &mut bytes);
            encoded.map_err(|error| invalid("cannot encode the snapshot").because(error))?;
            let held = Bytes::new(self.codec.is_text(), bytes);
            held.map_err(|error| invalid("cannot keep the snapshot").because(error))
        };
        Ok(SnapshotRow {
            number: i64::try_from(head.sequence.number())
                .map_err(|_| invalid("the sequence is past the last one that can be kept"))?,
            zone: head.sequence.zone().0,
            time: head.time.as_microsecond(),
            version: self.codec.version(),
            value: value.map(encode).transpose()?,
        })
    }

    fn decode(&self, row: &SnapshotRow, about: &str) -> Result<Snapshot<S, V>, StorageError> {
        let corrupt =
            |why: &str| StorageError::new(ErrorKind::Corrupt, format!("cannot read {about}: {why}"));
        let sequence =
            u64::try_from(row.number).ok().and_then(|number| S::from_parts(number, Zone(row.zone)));
        let sequence = sequence.ok_or_else(|| corrupt("its sequence is none of the type that is read"))?;
        let time = Timestamp::from_microsecond(row.time)
            .map_err(|error| corrupt("its time is out of range").at(sequence).because(error))?;
        let value = match &row.value {
            None => None,
            Some(value) if value.is_text() != self.codec.is_text() => {
                return Err(corrupt("another codec wrote it").at(sequence));
            }
            Some(value) => Some(
                self.codec
                    .decode(row.version, value.as_ref())
                    .map_err(|error| corrupt("its value is malformed").at(sequence).because(error))?,
            ),
        };
        Ok(Snapshot::new(value, Some(Head { sequence, time })))
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
