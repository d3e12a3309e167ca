//! Settings of all saves, and the context of one save.

use crate::commit::CommitId;
use crate::retry::RetryPolicy;
use crate::stream::Zone;
use crate::token::Token;

/// Settings of saves.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSettings {
    /// Number of tries under contention, and the waits between them. Default: 20 tries, with waits of at
    /// most 5 ms at first and 1 s later.
    pub retry: RetryPolicy,
    /// Zone of the events of this writer, for sequence types with zones. Default: zone 0.
    pub zone: Zone,
    /// Maximum number of streams in the cache of heads, and of values in the cache of a [`Decider`](crate::Decider).
    /// Default: 10,000.
    pub remembered: usize,
}

/// 20 tries with waits of at most 5 ms at first and 1 s later, zone 0, and 10,000 cached streams.
impl Default for SaveSettings {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), zone: Zone::default(), remembered: 10_000 }
    }
}

/// Context of one save: commit id, token and metadata, supplied by the caller in addition to the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Idempotency key of the command, used as id of the commit. A save that is repeated with the same id, and with
    /// the same token or none, finds the stored commit and returns its success. With a token, only commits after the
    /// token are searched; without one, the whole stream.
    pub commit_id: Option<CommitId>,
    /// Token of what the caller has seen. A save with a trusted token that names the stream starts at its sequence and
    /// reads nothing. An untrusted token only limits the search for a repeated command to the commits after it.
    pub token: Token,
    /// Value of [`Metadata::correlation_id`](crate::Metadata::correlation_id).
    pub correlation_id: Option<String>,
    /// Value of [`Metadata::causation_id`](crate::Metadata::causation_id).
    pub causation_id: Option<String>,
    /// Value of [`Metadata::actor`](crate::Metadata::actor).
    pub actor: Option<String>,
    /// Value of [`Metadata::dependencies`](crate::Metadata::dependencies).
    pub dependencies: Token,
}
