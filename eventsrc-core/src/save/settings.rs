//! Settings of saves, and what a caller says about one.

use crate::commit::CommitId;
use crate::retry::RetryPolicy;
use crate::stream::Zone;
use crate::token::Token;

/// How saves are made.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSettings {
    /// How often, and at what pace, contention is met with another try.
    pub retry: RetryPolicy,
    /// The mark that this writer's events bear, where the sequence has zones.
    pub zone: Zone,
    /// Of how many streams the last known place is remembered.
    pub remembered: usize,
}

/// 20 tries from 5 ms, zone 0, 10,000 streams remembered.
impl Default for SaveSettings {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), zone: Zone::default(), remembered: 10_000 }
    }
}

/// What a caller says about a save, beyond the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The caller's own id for the commit, which makes the command idempotent: sent again, with the token that it had
    /// the first time or with none, it is found and answered as the success it was. With a token, only commits after
    /// the token are searched; without, the whole stream is.
    pub commit_id: Option<CommitId>,
    /// What the caller knows. If it is trusted and names the stream, the save begins there and reads nothing; a token
    /// that is not trusted is taken for no more than the place after which a repeated command is looked for.
    pub token: Token,
    /// See [`Metadata::correlation_id`](crate::Metadata::correlation_id).
    pub correlation_id: Option<String>,
    /// See [`Metadata::causation_id`](crate::Metadata::causation_id).
    pub causation_id: Option<String>,
    /// See [`Metadata::actor`](crate::Metadata::actor).
    pub actor: Option<String>,
    /// See [`Metadata::dependencies`](crate::Metadata::dependencies).
    pub dependencies: Token,
}
