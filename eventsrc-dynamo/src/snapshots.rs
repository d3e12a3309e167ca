//! Snapshots in DynamoDB.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, ErrorKind, Head, Sequence, Snapshot, StorageError, Timestamp};
use futures::future::try_join;
use serde::Serialize;

use crate::cost::{LARGEST_ITEM, size, write_units};
use crate::dynamo::Dynamo;
use crate::failure::failure;
use crate::item::Item;
use crate::payloads::Payloads;
use crate::snapshot_layout::{self, SnapshotItem};

/// Maximum length of a partition key, in bytes.
const LONGEST_KEY: usize = 2048;

/// Snapshots of one kind of query in a [`Dynamo`]. A name distinguishes them from those of other queries. Cheap to clone.
///
/// A query key is stored as JSON. Therefore the key type implements `Serialize`, and different keys must have different JSON.
/// Name, fold version and JSON have at most 2 KB together. A snapshot has at most 400 KB.
pub struct DynamoSnapshots<K, S, V, C = Json> {
    dynamo: Dynamo,
    name: Arc<str>,
    codec: Arc<C>,
    types: PhantomData<fn(K, S) -> V>,
}

impl<K, S, V> DynamoSnapshots<K, S, V> {
    /// Stores snapshots in `dynamo` under `name`, encoded as JSON.
    pub fn new(dynamo: &Dynamo, name: &str) -> Self {
        Self::with_codec(dynamo, name, Json)
    }
}

impl<K, S, V, C> DynamoSnapshots<K, S, V, C> {
    /// Stores snapshots in `dynamo` under `name`, encoded by `codec`.
    pub fn with_codec(dynamo: &Dynamo, name: &str, codec: C) -> Self {
        Self { dynamo: dynamo.clone(), name: name.into(), codec: Arc::new(codec), types: PhantomData }
    }
}

impl<K, S, V, C> SnapshotStorage for DynamoSnapshots<K, S, V, C>
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
        let key = self.key(key, version)?;
        let all = || self.query(&key).key_condition_expression(snapshot_layout::ALL);
        let before = |sequence| {
            let query = self.query(&key).key_condition_expression(snapshot_layout::BEFORE);
            query.expression_attribute_values(":n", sequence).scan_index_forward(false).limit(1)
        };
        let cached = || self.cached(&key);
        let found = match which {
            // The two items are the cached snapshot and the greatest epoch.
            SnapshotAt::Latest => greatest(self.read(all().scan_index_forward(false).limit(2)).await?, None),
            SnapshotAt::Earliest => {
                let (mut found, cached) = try_join(self.read(all().limit(1)), cached()).await?;
                found.extend(cached);
                found.into_iter().min_by_key(sequence_of)
            }
            SnapshotAt::Before(limit) => {
                let limit = (limit.number(), limit.zone().0);
                let epochs = self.read(before(snapshot_layout::sequence(limit.0, limit.1)));
                let (mut found, cached) = try_join(epochs, cached()).await?;
                found.extend(cached);
                greatest(found, Some(limit))
            }
        };
        found.map(|item| self.decode(item, &key)).transpose()
    }

    async fn put(
        &self,
        key: &K,
        version: u32,
        snapshot: &Snapshot<S, V>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        let Some(head) = snapshot.to_keep() else { return Ok(()) };
        let item = self.encode(key, version, head, snapshot.value.as_ref(), mode)?;
        let (table, bytes) = (self.dynamo.snapshots_table(), size(&item));
        self.dynamo.meter().request("put_snapshot");
        let mut put = self
            .dynamo
            .client()
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if mode == SnapshotMode::Cache {
            let sequence = snapshot_layout::sequence(head.sequence.number(), head.sequence.zone().0);
            put = put
                .condition_expression(snapshot_layout::NOT_SET_BACK)
                .expression_attribute_values(":s", sequence);
        }
        match self.dynamo.answer(put.send()).await {
            Ok(put) => self.dynamo.meter().write(put.consumed_capacity(), write_units(bytes)),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                self.dynamo.meter().write(None, write_units(bytes));
            }
            Err(error) => return Err(failure("put a snapshot into", table, error).at(head.sequence)),
        }
        Ok(())
    }
}

impl<K: Serialize, S: Sequence, V, C: Codec<V>> DynamoSnapshots<K, S, V, C> {
    fn key(&self, key: &K, version: u32) -> Result<String, StorageError> {
        let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what);
        let json = serde_json::to_string(key)
            .map_err(|error| invalid("cannot encode the query key as JSON".into()).because(error))?;
        let key = format!("{}/{version}/{json}", self.name);
        if key.len() > LONGEST_KEY {
            let length = key.len();
            let what =
                format!("the query key has {length} bytes with its name, and the limit is {LONGEST_KEY}");
            return Err(invalid(what));
        }
        Ok(key)
    }

    fn encode(
        &self,
        key: &K,
        version: u32,
        head: Head<S>,
        value: Option<&V>,
        mode: SnapshotMode,
    ) -> Result<Item, StorageError> {
        let invalid = |what: String| StorageError::new(ErrorKind::Invalid, what).at(head.sequence);
        let encode = |value| {
            let mut bytes = Vec::new();
            let encoded = self.codec.encode(value, &mut bytes).and_then(|()| self.codec.check(value, &bytes));
            encoded.map_err(|error| invalid("cannot encode the snapshot".into()).because(error))?;
            Payloads::new(self.codec.is_text(), bytes, self.dynamo.settings().compress_from).map_err(
                |error| invalid("the codec claims text, but the snapshot is not UTF-8".into()).because(error),
            )
        };
        let item = SnapshotItem {
            number: head.sequence.number(),
            zone: head.sequence.zone().0,
            time: head.time.as_microsecond(),
            version: self.codec.version(),
            commit_id: head.commit_id.map(|id| id.0),
            value: value.map(encode).transpose()?,
        };
        let item = item.into_item(self.key(key, version)?, mode == SnapshotMode::Cache);
        match size(&item) {
            size if size > LARGEST_ITEM => Err(invalid(format!(
                "the snapshot has {size} bytes, and the limit of a DynamoDB item is {LARGEST_ITEM}"
            ))),
            _ => Ok(item),
        }
    }

    fn decode(&self, item: Item, key: &str) -> Result<Snapshot<S, V>, StorageError> {
        let corrupt = |reason: &str| {
            StorageError::new(ErrorKind::Corrupt, format!("cannot read the snapshot of {key}: {reason}"))
        };
        let item = SnapshotItem::from_item(item)
            .map_err(|error| corrupt("an attribute is malformed").because(error))?;
        let sequence = S::from_parts(item.number, Zone(item.zone))
            .ok_or_else(|| corrupt("its sequence is not a value of the sequence type"))?;
        let time = Timestamp::from_microsecond(item.time)
            .map_err(|error| corrupt("its time is out of range").at(sequence).because(error))?;
        let value = match item.value {
            None => None,
            Some(value) => {
                let (is_text, bytes) = value.into_bytes().map_err(|error| {
                    corrupt("its value cannot be decompressed").at(sequence).because(error)
                })?;
                if is_text != self.codec.is_text() {
                    let kind = if is_text { "text" } else { "binary" };
                    return Err(
                        corrupt(&format!("its value is {kind}, written by another codec")).at(sequence)
                    );
                }
                Some(
                    self.codec
                        .decode(item.version, &bytes)
                        .map_err(|error| corrupt("its value is malformed").at(sequence).because(error))?,
                )
            }
        };
        let commit_id = item.commit_id.map(CommitId);
        Ok(Snapshot::new(value, Some(Head { sequence, time, commit_id })))
    }

    fn query(&self, key: &str) -> QueryFluentBuilder {
        self.dynamo
            .client()
            .query()
            .table_name(self.dynamo.snapshots_table())
            .consistent_read(self.dynamo.settings().consistent_reads)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .expression_attribute_values(":k", AttributeValue::S(key.to_owned()))
    }

    async fn read(&self, query: QueryFluentBuilder) -> Result<Vec<Item>, StorageError> {
        self.dynamo.meter().request("query_snapshots");
        let table = self.dynamo.snapshots_table();
        let page = self.dynamo.answer(query.send()).await.map_err(|error| failure("read", table, error))?;
        self.dynamo.meter().read(page.consumed_capacity(), self.dynamo.settings().min_read_units());
        Ok(page.items.unwrap_or_default())
    }

    /// Reads the cached snapshot of `key`.
    async fn cached(&self, key: &str) -> Result<Option<Item>, StorageError> {
        let query = self.query(key).key_condition_expression(snapshot_layout::CACHED);
        let query = query.expression_attribute_values(":n", snapshot_layout::cache());
        Ok(self.read(query).await?.pop())
    }
}

/// Sequence of an item; `None`, which sorts first, if it is unreadable.
fn sequence_of(item: &Item) -> Option<(u64, u16)> {
    snapshot_layout::parts(item).ok()
}

/// Item with the greatest sequence before `limit`.
fn greatest(items: Vec<Item>, limit: Option<(u64, u16)>) -> Option<Item> {
    let is_before = |item: &Item| limit.is_none_or(|limit| sequence_of(item) < Some(limit));
    items.into_iter().filter(is_before).max_by_key(sequence_of)
}

impl<K, S, V, C> Clone for DynamoSnapshots<K, S, V, C> {
    fn clone(&self) -> Self {
        Self {
            dynamo: self.dynamo.clone(),
            name: Arc::clone(&self.name),
            codec: Arc::clone(&self.codec),
            types: PhantomData,
        }
    }
}

impl<K, S, V, C> fmt::Debug for DynamoSnapshots<K, S, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoSnapshots").field("name", &self.name).finish_non_exhaustive()
    }
}
