//! The records of DynamoDB Streams.

use aws_sdk_dynamodbstreams::types::Record as Streamed;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::{Sequence, StreamKey};
use eventsrc_dynamo::ItemDecoder;

use super::attribute;
use super::image::ItemChanges;
use crate::record::{Decoded, Decoder};

/// Reads the records of the DynamoDB Streams of a table of events.
///
/// - A commit is an item that was inserted. One that was modified or removed is [`Anomaly::Tampered`](crate::Anomaly::Tampered) and is
///   not applied: a view has the commit as it was saved.
/// - Where the new item is not shown, because of another view type of the stream, its stream is read from the storage, and the first
///   time that is an anomaly.
#[derive(Debug)]
pub struct StreamRecords<K, S, E, C = Json>(ItemChanges<K, S, E, C>);

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> StreamRecords<K, S, E, C> {
    /// Items as `images` reads them.
    pub fn new(images: ItemDecoder<K, S, E, C>) -> Self {
        Self(ItemChanges::new(images))
    }
}

impl<K, S, E, C> Decoder<Streamed> for StreamRecords<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    type Key = K;
    type Sequence = S;
    type Payload = E;

    fn decode(&self, record: Streamed, from: u64, decoded: &mut Decoded<K, S, E>) -> u64 {
        if from > 0 {
            return 0;
        }
        let Streamed { event_name, dynamodb, .. } = record;
        let (Some(event_name), Some(dynamodb)) = (event_name, dynamodb) else {
            decoded.unreadable(None, "the record does not tell what was done to which item".into());
            return 0;
        };
        let key = || dynamodb.keys.and_then(attribute::from_streams);
        // An image that cannot be moved is none of a commit, and is found to be so.
        let image = dynamodb.new_image.map(|image| attribute::from_streams(image).unwrap_or_default());
        self.0.take(event_name.as_str(), key, image, decoded);
        0
    }
}
