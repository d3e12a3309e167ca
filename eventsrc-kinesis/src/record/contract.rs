//! The contract of record decoders.

use eventsrc_core::commit::Payload;
use eventsrc_core::feed::Change;
use eventsrc_core::{Sequence, StreamKey, StreamName};

use crate::anomaly::Anomaly;

/// A record of a Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition key of the record.
    pub partition_key: String,
    /// Data of the record.
    pub data: Vec<u8>,
}

/// Decodes records of type `R` to changes.
///
/// - A readable stored commit is a [`Change::Commit`].
/// - An unreadable record is an [`Anomaly`] and a hint, [`Change::Stream`] or [`Change::Anything`]. No record is dropped.
/// - A record of another storage, or of a change that no writer of eventsrc makes, is an [`Anomaly`] without a change.
/// - Records of streams that have no key of type [`Key`](Self::Key) are ignored: they belong to another service or another
///   kind of stream.
/// - A record may have several parts. Parts are numbered from 0, readable or not.
pub trait Decoder<R>: Send + Sync + 'static {
    /// Key type of the streams.
    type Key: StreamKey;
    /// Sequence type of the streams.
    type Sequence: Sequence;
    /// Payload type of the streams.
    type Payload: Payload;

    /// Decodes the parts of `record` from number `from` on, adds the results to `decoded`, and returns the number of the last
    /// part.
    fn decode(
        &self,
        record: R,
        from: u64,
        decoded: &mut Decoded<Self::Key, Self::Sequence, Self::Payload>,
    ) -> u64;
}

/// Changes and anomalies decoded from records.
#[derive(Debug)]
pub struct Decoded<K, S, E> {
    /// Changes of the storage.
    pub changes: Vec<Change<K, S, E>>,
    /// Records that should not occur.
    pub anomalies: Vec<Anomaly>,
}

impl<K: StreamKey, S, E> Decoded<K, S, E> {
    /// Adds the anomaly and the hint of an unreadable record of `stream`, or of an unknown stream.
    pub(crate) fn unreadable(&mut self, stream: Option<StreamName>, reason: String) {
        match &stream {
            Some(name) => match K::from_parts(name.category(), name.id()) {
                Some(key) => self.changes.push(Change::Stream(key)),
                None => return,
            },
            None => self.changes.push(Change::Anything),
        }
        self.anomalies.push(Anomaly::Unreadable { stream, reason });
    }
}

impl<K, S, E> Default for Decoded<K, S, E> {
    fn default() -> Self {
        Self { changes: Vec::new(), anomalies: Vec::new() }
    }
}
