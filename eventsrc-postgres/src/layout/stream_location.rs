//! Location of a stream in the table of commits.

use eventsrc_core::StreamName;

use crate::bucket::bucket;

/// Bucket and name of a stream. Commits of several streams are inserted in the order of their locations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamLocation {
    pub(super) bucket: i16,
    pub(super) name: StreamName,
}

impl StreamLocation {
    /// Location of the stream called `name`.
    pub(crate) fn new(name: StreamName) -> Self {
        Self { bucket: bucket(&name), name }
    }

    /// Category and id.
    pub(super) fn parts(&self) -> (&str, &str) {
        (self.name.category(), self.name.id())
    }
}
