//! The records of DynamoDB's own Kinesis destination.

use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::{Sequence, StreamKey};
use eventsrc_dynamo::ItemDecoder;

use super::attribute::JsonItem;
use super::image::ItemChanges;
use super::native::{self, Native, Unreadable};
use crate::anomaly::Anomaly;
use crate::record::{Decoded, Decoder, Record};

/// Reads what DynamoDB itself puts on a Kinesis stream of a table of events, which needs no bridge.
///
/// They are read as [`StreamRecords`](crate::dynamodb::StreamRecords) are. A record that names another table is [`Anomaly::Foreign`].
///
/// DynamoDB repeats such records, brings them out of order, and leaves some out for good. A
/// [`Synchronizer`](eventsrc_core::Synchronizer) puts that right, at the price of reads.
#[derive(Debug)]
pub struct DestinationRecords<K, S, E, C = Json> {
    table: String,
    items: ItemChanges<K, S, E, C>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> DestinationRecords<K, S, E, C> {
    /// Items of `table`, as `images` reads them.
    pub fn new(table: impl Into<String>, images: ItemDecoder<K, S, E, C>) -> Self {
        Self { table: table.into(), items: ItemChanges::new(images) }
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
                let why = format!("the record is of the table {}, and not of {}", table.0, self.table);
                decoded.anomalies.push(Anomaly::Foreign { why });
            }
            Ok(Native { what, dynamodb, .. }) => {
                let key = || dynamodb.key.map(|JsonItem(key)| key);
                let image = dynamodb.image.map(|JsonItem(image)| image);
                self.items.take(&what.0, key, image, decoded);
            }
            Err(Unreadable { key, why }) => {
                decoded.unreadable(key.and_then(|key| self.items.stream(&key)), why);
            }
        }
        0
    }
}
