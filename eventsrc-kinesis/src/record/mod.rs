//! Records of a bus, and what they say.

use eventsrc_core::{Change, Sequence, StreamKey, Timestamp};
use std::fmt;

use crate::finding::Finding;

/// A record of a Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it was put under.
    pub partition_key: String,
    /// What it holds.
    pub data: Vec<u8>,
    /// When it came to the stream, roughly.
    pub arrived: Option<Timestamp>,
}

/// Reads records of type `R`.
///
/// - What was stored and can be read is a [`Change::Commit`].
/// - What cannot be read is a [`Finding`], and a [`Change::Stream`] or [`Change::Anything`] in its place: nothing is passed over.
/// - Streams that the key type does not know are passed over: they are of another service, or of another kind.
/// - A record may have several parts. They are numbered from 0, whether or not they are read, and `from` says which is the first
///   one wanted.
pub trait Decoder<R>: Send + Sync + 'static {
    /// What names a stream.
    type Key: StreamKey;
    /// The position of an event in its stream.
    type Sequence: Sequence;
    /// The event itself.
    type Payload: fmt::Debug + Send + Sync + 'static;

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
    pub findings: Vec<Finding>,
}

impl<K, S, E> Default for Decoded<K, S, E> {
    fn default() -> Self {
        Self { changes: Vec::new(), findings: Vec::new() }
    }
}
