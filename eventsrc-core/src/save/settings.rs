//! Settings of all saves, and the context of one save.

use std::time::Duration;

use crate::commit::CommitId;
use crate::retry::RetryPolicy;
use crate::stream::Zone;
use crate::token::Token;

/// Settings of saves.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSettings {
    /// Number of tries under contention with other processes, and the waits between them. Default: 20 tries, with waits
    /// of at most 5 ms at first and 1 s later.
    pub retry: RetryPolicy,
    /// Zone of the events of this writer, for sequence types with zones. Default: zone 0.
    pub zone: Zone,
    /// Maximum number of streams that are remembered, and of values in the cache of a [`Decider`](crate::Decider).
    /// Default: 10,000.
    pub remembered: usize,
    /// Number of events at the end of a stream among which a save looks for an earlier save with the same commit id.
    /// Default: 128.
    pub repeats_among: u32,
    /// Maximum number of saves that wait for another save of the same stream. One more is refused at once, with an error
    /// of kind `Overloaded`. Default: 1,024.
    pub waiting: usize,
    /// Maximum lead of the time of a commit over the clock of this writer. A commit is never earlier than the one before
    /// it, unless that one was made by a clock that is ahead by more than this. Default: 1 minute.
    pub longest_lead: Duration,
}

/// 20 tries with waits of at most 5 ms at first and 1 s later, zone 0, 10,000 remembered streams, repeated commands among
/// the last 128 events, 1,024 waiting saves of a stream, and a lead of 1 minute.
impl Default for SaveSettings {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            zone: Zone::default(),
            remembered: 10_000,
            repeats_among: 128,
            waiting: 1_024,
            longest_lead: Duration::from_secs(60),
        }
    }
}

/// Context of one save: commit id, token, time limit and metadata, supplied by the caller in addition to the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Idempotency key of the command, used as id of the commit. A save that is repeated with the same id finds the
    /// stored commit and returns its success.
    ///
    /// The commit is found if it is after [`token`](Context::token), where the token names the stream. Without one, it is
    /// found among the last events of the stream, as many as
    /// [`SaveSettings::repeats_among`](super::SaveSettings::repeats_among) says. A save that is repeated later than that
    /// is a new save.
    pub commit_id: Option<CommitId>,
    /// Token of what the caller has seen. A save with a trusted token that names the stream starts at its sequence and
    /// reads nothing. If the stream has gone on since, the save looks at the commit that the token names among the last
    /// [`SaveSettings::repeats_among`](super::SaveSettings::repeats_among) events, once for each writer and stream.
    ///
    /// If the storage has another history than the token, because it was restored from a backup, the save fails with kind
    /// `Diverged`. A token further behind is not compared; nor is one without a commit id.
    ///
    /// An untrusted token only limits the search for a repeated command to the commits after it.
    pub token: Token,
    /// Time limit of the save, measured by the monotonic clock. Default: none.
    ///
    /// After it, the save stops. The outcome is [`Outcome::Contended`](super::Outcome::Contended) if its last put met
    /// another commit, else an error of kind `Unavailable`, which tells if a put was under way.
    pub limit: Option<Duration>,
    /// Value of [`Metadata::correlation_id`](crate::Metadata::correlation_id).
    pub correlation_id: Option<String>,
    /// Value of [`Metadata::causation_id`](crate::Metadata::causation_id).
    pub causation_id: Option<String>,
    /// Value of [`Metadata::actor`](crate::Metadata::actor).
    pub actor: Option<String>,
    /// Value of [`Metadata::dependencies`](crate::Metadata::dependencies).
    pub dependencies: Token,
}
