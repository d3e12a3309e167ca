//! Decoder of the records of DynamoDB's own Kinesis destination.

use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::{Sequence, StreamKey};
use eventsrc_dynamo::ItemDecoder;

use super::attribute::JsonItem;
use super::image::ItemChanges;
use super::native::{self, Native, Unreadable};
use crate::anomaly::Anomaly;
use crate::record::{Decoded, Decoder, Record};

/// Decodes the records that DynamoDB itself puts on a Kinesis stream for a table of events. They need no bridge.
///
/// The rules are those of [`StreamRecords`](crate::dynamodb::StreamRecords). In addition, a record that names another table is
/// [`Anomaly::Foreign`].
///
/// DynamoDB may repeat, reorder and omit such records. A [`Synchronizer`](eventsrc_core::Synchronizer) repairs that with
/// additional reads.
#[derive(Debug)]
pub struct DestinationRecords<K, S, E, C = Json> {
    table: String,
    items: ItemChanges<K, S, E, C>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> DestinationRecords<K, S, E, C> {
    /// Creates a decoder for the items of `table` that reads them with `decoder`.
    pub fn new(table: impl Into<String>, decoder: ItemDecoder<K, S, E, C>) -> Self {
        Self { table: table.into(), items: ItemChanges::new(decoder) }
    }
}

impl<K, S, E, C> Decoder<Record> for DestinationRecords<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    fn decode(&self, record: Record, from: u64, decoded: &mut Decoded<K, S, E>) -> u64 {
        if from > 0 {
            return 0;
        }
        match native::read(&record.data) {
            Ok(Native { table: Some(table), .. }) if table.0 != self.table => {
                let reason =
                    format!("the record comes from the table {}, and not from {}", table.0, self.table);
                decoded.anomalies.push(Anomaly::Foreign { reason });
            }
            Ok(Native { operation, dynamodb, .. }) => {
                let key = || dynamodb.key.map(|JsonItem(key)| key);
                let image = dynamodb.image.map(|JsonItem(image)| image);
                self.items.decode(&operation.0, key, image, decoded);
            }
            Err(Unreadable { key, reason }) => {
                decoded.unreadable(key.and_then(|key| self.items.stream(&key)), reason);
            }
        }
        0
    }
}
