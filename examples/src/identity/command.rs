//! Commands, which can be sent more than once, and their outcomes.

use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{PreconditionFailed, SaveError};
use eventsrc_core::{CommitId, Context, Outcome, Saved, Snapshot, StorageError, StreamKey, Token};
use uuid::Uuid;

use super::keys::{Entry, GroupId, UserId};

/// A command of a caller.
///
/// A caller that gets no answer sends the same command again, unchanged, until it gets one. The service recognises the
/// steps that were carried out by their commit ids, and carries out the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Unique id of the command, chosen by the caller.
    pub id: Uuid,
    /// Token of what the caller had seen when it made the command. An earlier attempt is found among all events after it.
    /// With an empty token, it is found among the last thousand events of each stream.
    pub seen: Token,
    /// Precondition: the stream of the user or group is at one of these sequences. `None` for no precondition. Commands
    /// that create a user or a group ignore it.
    pub only_at: Option<Vec<u64>>,
}

/// A step of a command. Each step is a commit to another stream, with its own commit id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Claim,
    Save,
}

impl Command {
    /// Creates a command of a caller that has seen nothing.
    pub fn new(id: CommitId) -> Self {
        Self { id: id.0, seen: Token::default(), only_at: None }
    }

    /// Adds `token` to what the caller has seen.
    #[must_use]
    pub fn having_seen(self, token: &Token) -> Self {
        Self { seen: self.seen.join(token), ..self }
    }

    /// Requires that the stream is at one of these sequences.
    #[must_use]
    pub fn only_at(self, sequences: impl IntoIterator<Item = u64>) -> Self {
        Self { only_at: Some(Vec::from_iter(sequences)), ..self }
    }

    /// Requires that nothing was saved to the stream of `key` since `token`.
    #[must_use]
    pub fn only_since<K: StreamKey>(self, token: &Token, key: &K) -> Self {
        self.only_at(token.sequence(key))
    }

    /// Returns the reason why the precondition fails on `known`; `None` if it is met.
    pub(super) fn failed_precondition<V>(&self, known: &Snapshot<u64, V>) -> Option<Reason> {
        let expected = self.only_at.as_ref()?;
        let is_met = known.sequence().is_some_and(|sequence| expected.contains(&sequence));
        let text = |sequence: Option<u64>| sequence.map(|sequence| sequence.to_string());
        let failed = || PreconditionFailed::Moved {
            expected: text(expected.first().copied()),
            actual: text(known.sequence()),
        };
        (!is_met).then(|| Reason::Precondition(failed()))
    }

    /// Returns the commit id of a step, which is the same in every attempt.
    fn commit_id(&self, step: Step) -> CommitId {
        let step = match step {
            Step::Claim => "claim",
            Step::Save => "save",
        };
        CommitId(Uuid::new_v5(&self.id, step.as_bytes()))
    }

    pub(super) fn context(&self, step: Step) -> Context {
        Context { commit_id: Some(self.commit_id(step)), token: self.seen.clone(), ..self.follow_up() }
    }

    /// Context of a step that has no effect when it is repeated, and so needs no commit id.
    pub(super) fn follow_up(&self) -> Context {
        Context { causation_id: Some(self.id.to_string()), ..Context::default() }
    }
}

/// Reason for the rejection of a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Another user or group has the name or the address.
    #[error("the {0} is taken")]
    Taken(Entry),
    /// The user never signed up, or was deleted.
    #[error("there is no user {}", .0.0)]
    NoUser(UserId),
    /// The group was never created.
    #[error("there is no group {}", .0.0)]
    NoGroup(GroupId),
    /// The user is already a member of the group.
    #[error("user {} is a member already", .0.0)]
    Member(UserId),
    /// The user is not a member of the group.
    #[error("user {} is not a member", .0.0)]
    NoMember(UserId),
    /// The precondition of the command is not met.
    #[error("{0}")]
    Precondition(#[from] PreconditionFailed),
    /// A change of the same kind was claimed later and saved first.
    #[error("a later change was saved first")]
    Overtaken,
    /// The id belongs to another command or to a rejected one. A new command needs a new id.
    #[error("the command's id was used before")]
    SpentCommand,
}

/// A command that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was rejected, and nothing was changed.
    #[error("{}", .0.iter().map(Reason::to_string).collect::<Vec<_>>().join("; "))]
    Rejected(Vec1<Reason>),
    /// Other writers appended first in every attempt. Send the command again later.
    #[error("other writers appended first in each of {attempts} attempts")]
    Busy {
        /// Number of attempts.
        attempts: u32,
    },
    /// The outcome is unknown. Send the command again.
    #[error("the command may be carried out in part; send it again")]
    Unknown(#[from] SaveError),
    /// The storage cannot be read.
    #[error("the storage cannot be read")]
    Unreadable(#[from] StorageError),
}

/// Converts the outcome of a save; rejection and contention become failures of the command.
pub(super) fn into_result(outcome: Outcome<Reason, u64>) -> Result<Saved, Failure> {
    match outcome {
        Outcome::Saved(saved) => Ok(saved),
        Outcome::Unchanged(_) => unreachable!("every operation of the service saves or rejects"),
        Outcome::Rejected { reasons, .. } => Err(Failure::Rejected(reasons)),
        Outcome::Contended { attempts } => Err(Failure::Busy { attempts }),
    }
}
