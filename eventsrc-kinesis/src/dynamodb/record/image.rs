//! Decoding of changes of the items in a table of events.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::feed::Change;
use eventsrc_core::{Sequence, StorageError, StreamKey, StreamName};
use eventsrc_dynamo::ItemDecoder;

use super::attribute::Item;
use crate::anomaly::Anomaly;
use crate::record::Decoded;

/// Decodes changes of items.
///
/// - An inserted item is a commit. A modified or removed item is [`Anomaly::Tampered`] and is not applied: a view keeps the
///   commit as it was saved.
/// - If the new image is missing, the event stream is read from the storage. The first such change is an anomaly.
#[derive(Debug)]
pub(super) struct ItemChanges<K, S, E, C> {
    decoder: ItemDecoder<K, S, E, C>,
    reported_view_type: AtomicBool,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> ItemChanges<K, S, E, C> {
    pub(super) fn new(decoder: ItemDecoder<K, S, E, C>) -> Self {
        Self { decoder, reported_view_type: AtomicBool::new(false) }
    }

    /// Event stream of an item, or of the key of one.
    pub(super) fn stream(&self, item: &Item) -> Option<StreamName> {
        self.decoder.key(item).map(stream)
    }

    /// Decodes one change. `operation` is `INSERT`, `MODIFY` or `REMOVE`. `key` is called only if the image does not suffice.
    pub(super) fn decode(
        &self,
        operation: &str,
        key: impl FnOnce() -> Option<Item>,
        image: Option<Item>,
        decoded: &mut Decoded<K, S, E>,
    ) {
        let key = || key().and_then(|key| self.decoder.key(&key));
        match (operation, image) {
            ("INSERT", Some(image)) => match self.decoder.decode(image) {
                Ok(Some(commit)) => decoded.changes.push(Change::Commit(commit)),
                Ok(None) => {}
                Err(error) => decoded.unreadable(key().map(stream), describe(&error)),
            },
            ("INSERT", None) => self.without_image(key().map(stream), decoded),
            ("MODIFY" | "REMOVE", _) => {
                let (stream, number) = key().unzip();
                // Streams with other keys belong to other storages in this table, whose consumers report them.
                if stream
                    .as_ref()
                    .is_none_or(|stream| K::from_parts(stream.category(), stream.id()).is_some())
                {
                    decoded.anomalies.push(Anomaly::Tampered { stream, number, operation: operation.into() });
                }
            }
            _ => {
                let reason = "the operation of the record is neither INSERT nor MODIFY nor REMOVE";
                decoded.unreadable(key().map(stream), reason.into());
            }
        }
    }

    fn without_image(&self, stream: Option<StreamName>, decoded: &mut Decoded<K, S, E>) {
        let anomalies = decoded.anomalies.len();
        let reason =
            "the table's stream has no new images, so each item costs a read: set its view type to NEW_IMAGE";
        decoded.unreadable(stream, reason.into());
        if decoded.anomalies.len() > anomalies && self.reported_view_type.swap(true, Ordering::Relaxed) {
            decoded.anomalies.truncate(anomalies);
        }
    }
}

fn stream((stream, _): (StreamName, u64)) -> StreamName {
    stream
}

#[cfg(test)]
mod tests;

/// Text of an error with its causes, without those that may quote a payload.
fn describe(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(json) = error.downcast_ref::<serde_json::Error>() {
            text += &format!(": line {}, column {}", json.line(), json.column());
            break;
        }
        text += &format!(": {error}");
        cause = if error.is::<CodecError>() { None } else { error.source() };
    }
    text
}
