//! What a consumer met that should not be.

use eventsrc_core::StreamName;

/// What a consumer met on the bus that should not be. Nothing is lost by it: what the bus does not tell, the storage does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// A record, or a part of one, cannot be read. The stream is read from the storage, or all heads are compared where it
    /// is not known which stream it is.
    Unreadable {
        /// The stream, as far as it can be told.
        stream: Option<StreamName>,
        /// What is wrong with it, with all causes. It has no payload in it.
        why: String,
    },
    /// A stored commit was changed or removed, which no writer of eventsrc does. It is not applied.
    Tampered {
        /// The stream, as far as it can be told.
        stream: Option<StreamName>,
        /// The number of the commit's first event, as far as it can be told.
        number: Option<u64>,
        /// What was done: `MODIFY` or `REMOVE`.
        what: String,
    },
    /// The record says nothing of this storage, such as one of another table. Nothing is read because of it.
    Foreign {
        /// What it is of, as far as it can be told.
        why: String,
    },
    /// The bus may not have any more what comes after the checkpoint. All heads are compared with positions, and what is
    /// missing is read from the storage.
    Lost {
        /// The shard.
        shard: String,
        /// What the bus says.
        why: String,
    },
}

impl Anomaly {
    /// The stream that it is about, as far as it can be told.
    pub fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Unreadable { stream, .. } | Self::Tampered { stream, .. } => stream.as_ref(),
            Self::Foreign { .. } | Self::Lost { .. } => None,
        }
    }
}
