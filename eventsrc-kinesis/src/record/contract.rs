//! The contract of a decoder of records.

use eventsrc_core::commit::Payload;
use eventsrc_core::feed::Change;
use eventsrc_core::{Sequence, StreamKey, StreamName};

use crate::anomaly::Anomaly;

/// A record of a Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it was put under.
    pub partition_key: String,
    /// What it holds.
    pub data: Vec<u8>,
}

/// Reads records of type `R`.
///
/// - What was stored and can be read is a [`Change::Commit`].
/// - What cannot be read is a [`Anomaly`], and a [`Change::Stream`] or [`Change::Anything`] in its place: nothing is passed over.
/// - What is not of this storage, or was done to it by no writer of eventsrc, is a [`Anomaly`] alone.
/// - Streams that the key type does not know are passed over: they are of another service, or of another kind.
/// - A record may have several parts. They are numbered from 0, whether or not they are read, and `from` says which is the first
///   one wanted.
pub trait Decoder<R>: Send + Sync + 'static {
    /// What names a stream.
    type Key: StreamKey;
    /// The position of an event in its stream.
    type Sequence: Sequence;
    /// The event itself.
    type Payload: Payload;

    /// Adds to `decoded` what the parts of `record` from `from` on say, and gives the number of its last part.
    fn decode(
        &self,
        record: R,
        from: u64,
        decoded: &mut Decoded<Self::Key, Self::Sequence, Self::Payload>,
    ) -> u64;
}

/// What some records say.
#[derive(Debug)]
pub struct Decoded<K, S, E> {
    /// What happened in the storage.
    pub changes: Vec<Change<K, S, E>>,
    /// What should not be.
    pub anomalies: Vec<Anomaly>,
}

impl<K: StreamKey, S, E> Decoded<K, S, E> {
    /// Adds that something of `stream`, or of any stream if that is not known, cannot be read.
    pub(crate) fn unreadable(&mut self, stream: Option<StreamName>, why: String) {
        match &stream {
            Some(name) => match K::from_parts(name.category(), name.id()) {
                Some(key) => self.changes.push(Change::Stream(key)),
                None => return,
            },
            None => self.changes.push(Change::Anything),
        }
        self.anomalies.push(Anomaly::Unreadable { stream, why });
    }
}

impl<K, S, E> Default for Decoded<K, S, E> {
    fn default() -> Self {
        Self { changes: Vec::new(), anomalies: Vec::new() }
    }
}
