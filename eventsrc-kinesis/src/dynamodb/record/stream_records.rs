//! Decoder of the records of DynamoDB Streams.

use aws_sdk_dynamodbstreams::types::Record as Streamed;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_core::commit::Payload;
use eventsrc_core::{Sequence, StreamKey};
use eventsrc_dynamo::ItemDecoder;

use super::attribute;
use super::image::ItemChanges;
use crate::record::{Decoded, Decoder};

/// Decodes the records of the stream of a table of events.
///
/// - An inserted item is a commit. A modified or removed item is [`Anomaly::Tampered`](crate::Anomaly::Tampered) and is not
///   applied: a view keeps the commit as it was saved.
/// - If the view type of the stream omits the new image, the event stream of the item is read from the storage. The first such
///   record is an anomaly.
#[derive(Debug)]
pub struct StreamRecords<K, S, E, C = Json>(ItemChanges<K, S, E, C>);

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> StreamRecords<K, S, E, C> {
    /// Creates a decoder that reads items with `decoder`.
    pub fn new(decoder: ItemDecoder<K, S, E, C>) -> Self {
        Self(ItemChanges::new(decoder))
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
            decoded.unreadable(None, "the record names no operation, or no item".into());
            return 0;
        };
        let key = || dynamodb.keys.and_then(attribute::from_streams);
        // An image with a value of an unknown type is decoded as an empty item, which is reported as unreadable.
        let image = dynamodb.new_image.map(|image| attribute::from_streams(image).unwrap_or_default());
        self.0.decode(event_name.as_str(), key, image, decoded);
        0
    }
}
