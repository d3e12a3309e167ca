//! Streams whose calls fail until they are healed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use eventsrc_core::StreamName;

/// Set of streams whose calls fail, for faults that a retry does not pass.
#[derive(Debug, Default)]
pub(super) struct FailingStreams(Mutex<HashSet<StreamName>>);

impl FailingStreams {
    pub(super) fn fail(&self, stream: StreamName) {
        self.streams().insert(stream);
    }

    /// Returns true if the stream was failing.
    pub(super) fn heal(&self, stream: &StreamName) -> bool {
        self.streams().remove(stream)
    }

    pub(super) fn has(&self, stream: &StreamName) -> bool {
        self.streams().contains(stream)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams().is_empty()
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, HashSet<StreamName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_fails_until_it_is_healed() {
        let streams = FailingStreams::default();
        let (one, other) = ("user/1".parse().unwrap(), "user/2".parse().unwrap());
        streams.fail(StreamName::clone(&one));
        assert_eq!((streams.has(&one), streams.has(&other)), (true, false));
        assert!(streams.heal(&one) && !streams.heal(&one));
        assert!(streams.is_empty());
    }
}
