//! Commands, which may be sent more than once, and what can come of them.

use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{PreconditionFailed, SaveError};
use eventsrc_core::{CommitId, Context, Outcome, Saved, Snapshot, StorageError, StreamKey, Token};
use uuid::Uuid;

use super::keys::{Entry, GroupId, UserId};

/// One command of a caller.
///
/// A caller that got no answer sends the same command again, as it is, until it has one: what was done of it is found
/// by its commit ids, and the rest is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Made by the caller, and unique to the command.
    pub id: Uuid,
    /// What the caller had seen when it made the command. It is where the search for an earlier try begins: with an
    /// empty token, whole streams are searched.
    pub seen: Token,
    /// The sequences at one of which its user or group has to be for the command to be carried out; `None` if it is
    /// meant for any. A command that makes a user or a group has nothing to be meant for.
    pub only_at: Option<Vec<u64>>,
}

/// The commits that a command makes. They are in different streams, and each has an id of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Claim,
    Save,
}

impl Command {
    /// A command of a caller that has seen nothing yet.
    pub fn new(id: CommitId) -> Self {
        Self { id: id.0, seen: Token::default(), only_at: None }
    }

    /// The same command of a caller that has seen `token`.
    #[must_use]
    pub fn having_seen(self, token: &Token) -> Self {
        Self { seen: self.seen.join(token), ..self }
    }

    /// The same command, meant for a stream that is at one of these sequences.
    #[must_use]
    pub fn only_at(self, sequences: impl IntoIterator<Item = u64>) -> Self {
        Self { only_at: Some(Vec::from_iter(sequences)), ..self }
    }

    /// The same command, meant for a stream to which nothing was saved since `token`.
    #[must_use]
    pub fn only_since<K: StreamKey>(self, token: &Token, key: &K) -> Self {
        self.only_at(token.sequence(key))
    }

    /// Why the command is not meant for the stream that is `known`; `None` if it is.
    pub(super) fn unmet<V>(&self, known: &Snapshot<u64, V>) -> Option<Reason> {
        let expected = self.only_at.as_ref()?;
        let met = known.sequence().is_some_and(|sequence| expected.contains(&sequence));
        let text = |sequence: Option<u64>| sequence.map(|sequence| sequence.to_string());
        let moved = || PreconditionFailed::Moved {
            expected: text(expected.first().copied()),
            actual: text(known.sequence()),
        };
        (!met).then(|| Reason::Precondition(moved()))
    }

    /// The id of the commit that is this step, the same at every try.
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

    /// For a step that does nothing when it is done again, and needs no id for that.
    pub(super) fn follow_up(&self) -> Context {
        Context { causation_id: Some(self.id.to_string()), ..Context::default() }
    }
}

/// Why the service says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Somebody else has the name or the address.
    #[error("the {0} is taken")]
    Taken(Entry),
    /// The user never signed up, or was deleted.
    #[error("there is no user {}", .0.0)]
    NoUser(UserId),
    /// The group was never created.
    #[error("there is no group {}", .0.0)]
    NoGroup(GroupId),
    /// The user is in the group already.
    #[error("user {} is a member already", .0.0)]
    Member(UserId),
    /// The user is not in the group.
    #[error("user {} is not a member", .0.0)]
    NoMember(UserId),
    /// The caller's condition is not met.
    #[error("{0}")]
    Precondition(#[from] PreconditionFailed),
    /// A change of the same kind was claimed later, and saved first.
    #[error("a later change was saved first")]
    Overtaken,
    /// The id was that of another command, or of one that was rejected; a new command needs a new id.
    #[error("the command's id was used before")]
    SpentCommand,
}

/// A command that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The service says no, and nothing was changed.
    #[error("{}", .0.iter().map(Reason::to_string).collect::<Vec<_>>().join("; "))]
    Rejected(Vec1<Reason>),
    /// Others were faster at every try. Send the command again, later.
    #[error("other writers were faster at each of {attempts} tries")]
    Busy {
        /// How many tries there were.
        attempts: u32,
    },
    /// Nobody knows how far the command got. Send it again.
    #[error("the command may be carried out in part; send it again")]
    Unknown(#[from] SaveError),
    /// The storage cannot be read.
    #[error("the storage cannot be read")]
    Unreadable(#[from] StorageError),
}

/// A save that was rejected is one that failed, here where a command has several.
pub(super) fn carried_out(outcome: Outcome<Reason, u64>) -> Result<Saved, Failure> {
    match outcome {
        Outcome::Saved(saved) => Ok(saved),
        Outcome::Rejected { reasons, .. } => Err(Failure::Rejected(reasons)),
        Outcome::Contended { attempts } => Err(Failure::Busy { attempts }),
    }
}
