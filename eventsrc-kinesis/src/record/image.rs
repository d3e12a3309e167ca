//! What DynamoDB tells of a table of events.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodbstreams::types::Record as Streamed;
use eventsrc_core::{Change, Codec, Json, Sequence, StreamKey, StreamName};
use eventsrc_dynamo::Images;

use super::attribute::{self, Item, JsonItem};
use super::native::{self, Native, Unreadable};
use super::{Decoded, Decoder, Record, described};
use crate::finding::Finding;

/// Reads what DynamoDB tells of a table of events, be it by DynamoDB Streams or by its own Kinesis destination.
///
/// - A commit is an item that was inserted. One that was modified or removed is [`Finding::Tampering`] and is not applied: a view has
///   the commit as it was saved.
/// - Where there is no image of the new item, because the stream shows keys or old images alone, its stream is read from the storage;
///   that is a finding at the first time.
/// - A record that names another table than this one is [`Finding::Foreign`].
///
/// The Kinesis destination repeats records, brings them out of order, and leaves some out; a
/// [`Synchronizer`](eventsrc_core::Synchronizer) puts that right.
pub struct TableRecords<K, S, E, C = Json> {
    table: String,
    images: Images<K, S, E, C>,
    told_of_view_type: AtomicBool,
}

impl<K, S, E> TableRecords<K, S, E> {
    /// Records of `table`, a table of events whose payloads are JSON.
    pub fn new(table: impl Into<String>) -> Self {
        Self::with_codec(table, Json)
    }
}

impl<K, S, E, C> TableRecords<K, S, E, C> {
    /// Records of `table`, a table of events whose payloads `codec` wrote.
    pub fn with_codec(table: impl Into<String>, codec: C) -> Self {
        let told_of_view_type = AtomicBool::new(false);
        Self { table: table.into(), images: Images::with_codec(codec), told_of_view_type }
    }
}

/// What was done to an item.
struct Told<'a> {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    what: &'a str,
    /// The key of the item.
    key: Option<Item>,
    /// The item, where it is shown.
    image: Option<Item>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> TableRecords<K, S, E, C> {
    fn take(&self, told: Told<'_>, decoded: &mut Decoded<K, S, E>) {
        let Told { what, key, image } = told;
        let place = [&key, &image].into_iter().flatten().find_map(|item| self.images.key(item));
        match what {
            "INSERT" => match image {
                Some(image) => self.inserted(image, place.map(|(stream, _)| stream), decoded),
                None => self.unseen(place.map(|(stream, _)| stream), decoded),
            },
            "MODIFY" | "REMOVE" => {
                let (stream, number) = place.unzip();
                // Others may store their streams in this table, and are told of them.
                if stream
                    .as_ref()
                    .is_none_or(|stream| K::from_parts(stream.category(), stream.id()).is_some())
                {
                    decoded.findings.push(Finding::Tampering { stream, number, what: what.into() });
                }
            }
            _ => {
                let why = "the record tells neither of an item that was inserted nor modified nor removed";
                decoded.unreadable(place.map(|(stream, _)| stream), why.into());
            }
        }
    }

    fn inserted(&self, image: Item, stream: Option<StreamName>, decoded: &mut Decoded<K, S, E>) {
        match self.images.decode(image) {
            Ok(Some(commit)) => decoded.changes.push(Change::Commit(commit)),
            Ok(None) => {}
            Err(error) => decoded.unreadable(stream, described(&error)),
        }
    }

    fn unseen(&self, stream: Option<StreamName>, decoded: &mut Decoded<K, S, E>) {
        let findings = decoded.findings.len();
        let why =
            "the table's stream shows no new images, so each is read: its view type should be NEW_IMAGE";
        decoded.unreadable(stream, why.into());
        if decoded.findings.len() > findings && self.told_of_view_type.swap(true, Ordering::Relaxed) {
            decoded.findings.truncate(findings);
        }
    }
}

impl<K, S, E, C> Decoder<Streamed> for TableRecords<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: fmt::Debug + Send + Sync + 'static,
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
        let key = dynamodb.keys.and_then(attribute::from_streams);
        // An image that cannot be moved is none of a commit, and is found to be so.
        let image = dynamodb.new_image.map(|image| attribute::from_streams(image).unwrap_or_default());
        self.take(Told { what: event_name.as_str(), key, image }, decoded);
        0
    }
}

impl<K, S, E, C> Decoder<Record> for TableRecords<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: fmt::Debug + Send + Sync + 'static,
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
                decoded.findings.push(Finding::Foreign { why });
            }
            Ok(Native { what, dynamodb, .. }) => {
                let key = dynamodb.key.map(|JsonItem(key)| key);
                let image = dynamodb.image.map(|JsonItem(image)| image);
                self.take(Told { what: &what.0, key, image }, decoded);
            }
            Err(Unreadable { key, why }) => {
                let stream = key.and_then(|key| self.images.key(&key)).map(|(stream, _)| stream);
                decoded.unreadable(stream, why);
            }
        }
        0
    }
}

impl<K, S, E, C: fmt::Debug> fmt::Debug for TableRecords<K, S, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRecords")
            .field("table", &self.table)
            .field("images", &self.images)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
