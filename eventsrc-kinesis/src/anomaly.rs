//! Anomalies: records and conditions on a bus that should not occur.

use eventsrc_core::StreamName;

/// A record or a condition on the bus that should not occur. No commit is lost by it: what the bus does not deliver is
/// read from the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// A record, or a part of an aggregated record, cannot be read. The stream of the record is read from the storage.
    /// If the stream is unknown, all heads are compared with the positions of the view.
    Unreadable {
        /// Stream of the record; `None` if it is unknown.
        stream: Option<StreamName>,
        /// Cause, with its own causes. It never contains payload data.
        reason: String,
    },
    /// A stored commit was changed or removed. No writer of eventsrc does that. The change is not applied.
    Tampered {
        /// Stream of the commit; `None` if it is unknown.
        stream: Option<StreamName>,
        /// Number of the first event of the commit; `None` if it is unknown.
        number: Option<u64>,
        /// Operation on the item: `MODIFY` or `REMOVE`.
        operation: String,
    },
    /// The record does not belong to this storage; for example, it comes from another table. It causes no read.
    Foreign {
        /// Origin of the record.
        reason: String,
    },
    /// The bus may have trimmed records after the checkpoint. All heads are compared with the positions of the view, and
    /// missing commits are read from the storage.
    Lost {
        /// Id of the shard.
        shard: String,
        /// Error of the bus, or the age of the checkpoint.
        reason: String,
    },
}

impl Anomaly {
    /// Stream that the anomaly concerns; `None` if it is unknown or if the anomaly concerns no single stream.
    pub fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Unreadable { stream, .. } | Self::Tampered { stream, .. } => stream.as_ref(),
            Self::Foreign { .. } | Self::Lost { .. } => None,
        }
    }
}
