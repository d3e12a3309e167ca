//! What was done to the items of a table of events.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::feed::Change;
use eventsrc_core::{Sequence, StorageError, StreamKey, StreamName};
use eventsrc_dynamo::ItemDecoder;

use super::attribute::Item;
use crate::anomaly::Anomaly;
use crate::record::Decoded;

/// Reads what was done to items.
///
/// - A commit is an item that was inserted. One that was modified or removed is [`Anomaly::Tampered`] and is not applied: a view has
///   the commit as it was saved.
/// - Where the new item is not shown, its stream is read from the storage, and the first time that is an anomaly.
#[derive(Debug)]
pub(super) struct ItemChanges<K, S, E, C> {
    images: ItemDecoder<K, S, E, C>,
    told_of_view_type: AtomicBool,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> ItemChanges<K, S, E, C> {
    pub(super) fn new(images: ItemDecoder<K, S, E, C>) -> Self {
        Self { images, told_of_view_type: AtomicBool::new(false) }
    }

    /// The stream of an item, or of its key.
    pub(super) fn stream(&self, item: &Item) -> Option<StreamName> {
        self.images.key(item).map(stream)
    }

    /// `what` is `INSERT`, `MODIFY` or `REMOVE`. The key of the item is asked for only where the image, if it is shown, does not tell.
    pub(super) fn take(
        &self,
        what: &str,
        key: impl FnOnce() -> Option<Item>,
        image: Option<Item>,
        decoded: &mut Decoded<K, S, E>,
    ) {
        let place = || key().and_then(|key| self.images.key(&key));
        match (what, image) {
            ("INSERT", Some(image)) => match self.images.decode(image) {
                Ok(Some(commit)) => decoded.changes.push(Change::Commit(commit)),
                Ok(None) => {}
                Err(error) => decoded.unreadable(place().map(stream), described(&error)),
            },
            ("INSERT", None) => self.unseen(place().map(stream), decoded),
            ("MODIFY" | "REMOVE", _) => {
                let (stream, number) = place().unzip();
                // Others may store their streams in this table, and are told of them.
                if stream
                    .as_ref()
                    .is_none_or(|stream| K::from_parts(stream.category(), stream.id()).is_some())
                {
                    decoded.anomalies.push(Anomaly::Tampered { stream, number, what: what.into() });
                }
            }
            _ => {
                let why = "the record tells neither of an item that was inserted nor modified nor removed";
                decoded.unreadable(place().map(stream), why.into());
            }
        }
    }

    fn unseen(&self, stream: Option<StreamName>, decoded: &mut Decoded<K, S, E>) {
        let anomalies = decoded.anomalies.len();
        let why =
            "the table's stream shows no new images, so each is read: its view type should be NEW_IMAGE";
        decoded.unreadable(stream, why.into());
        if decoded.anomalies.len() > anomalies && self.told_of_view_type.swap(true, Ordering::Relaxed) {
            decoded.anomalies.truncate(anomalies);
        }
    }
}

fn stream((stream, _): (StreamName, u64)) -> StreamName {
    stream
}

#[cfg(test)]
mod tests;

/// An error with its causes, but for those that may quote what was to be read.
fn described(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(json) = error.downcast_ref::<serde_json::Error>() {
            text += &format!(": at line {}, column {}", json.line(), json.column());
            break;
        }
        text += &format!(": {error}");
        cause = if error.is::<CodecError>() { None } else { error.source() };
    }
    text
}
