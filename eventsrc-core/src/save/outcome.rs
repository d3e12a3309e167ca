//! Outcomes and errors of saves.

use vec1::Vec1;

use super::operation::PreconditionFailed;
use crate::commit::CommitId;
use crate::storage::{ErrorKind, StorageError};
use crate::token::Token;

/// Outcome of a save, with the number of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the operation may have been rejected"]
pub enum Outcome<R = PreconditionFailed, S = u64> {
    /// The events are stored.
    Saved(Saved<S>),
    /// The operation found nothing to do, given what this call read. Nothing is stored.
    Unchanged(Unchanged<S>),
    /// The operation rejected, given what this call read. Nothing is stored.
    Rejected {
        /// Reasons of the operation.
        reasons: Vec1<R>,
        /// Number of conflicts with other writers before the rejection.
        retries: u32,
    },
    /// Every attempt conflicted with a writer of another process, up to the limit of tries or of time. Nothing is stored.
    Contended {
        /// Number of attempts.
        attempts: u32,
    },
}

/// Outcome of a save that had nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged<S = u64> {
    /// Sequence of the last event of the stream; `None` if it has none.
    pub sequence: Option<S>,
    /// Trusted token of this sequence.
    pub token: Token,
    /// Number of conflicts with other writers before the decision.
    pub retries: u32,
}

/// Outcome of a save whose events are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved<S = u64> {
    /// Sequence of the last event.
    pub sequence: S,
    /// Trusted token of this sequence. Join it to the tokens of other answers.
    pub token: Token,
    /// Id of the commit that holds the events.
    pub commit_id: CommitId,
    /// Number of conflicts with other writers before the save succeeded.
    pub retries: u32,
    /// True if the commit was already stored: by an earlier save of the same command, or by a put whose reply was lost.
    pub repeated: bool,
}

impl<R, S> Outcome<R, S> {
    /// Returns the saved events; `None` if nothing is stored.
    pub fn saved(self) -> Option<Saved<S>> {
        match self {
            Self::Saved(saved) => Some(saved),
            Self::Unchanged(_) | Self::Rejected { .. } | Self::Contended { .. } => None,
        }
    }

    /// Returns the number of retries after conflicts with other writers.
    pub fn retries(&self) -> u32 {
        match self {
            Self::Saved(saved) => saved.retries,
            Self::Unchanged(unchanged) => unchanged.retries,
            Self::Rejected { retries, .. } => *retries,
            Self::Contended { attempts } => attempts - 1,
        }
    }
}

/// Failure of a save: the storage failed, the time limit passed, or too many saves wait.
///
/// If the commit may be stored, save again with the same commit id (and the same token, if there was one) to find out.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct SaveError {
    /// Id of the commit.
    pub commit_id: CommitId,
    /// Number of conflicts with other writers before the failure.
    pub retries: u32,
    /// True if a put was sent whose result is unknown, so that the commit may be stored. Otherwise this save stored
    /// nothing; an earlier save with the same commit id may have.
    pub unknown: bool,
    /// Error of the storage.
    pub source: StorageError,
}

impl SaveError {
    /// True if nothing is stored, and the same save would fail again.
    pub(super) fn is_refused(&self) -> bool {
        !self.unknown && self.source.kind() == ErrorKind::Invalid
    }

    fn text(&self) -> String {
        let id = self.commit_id;
        if self.unknown {
            format!("commit {id} may or may not be saved; save again with the same commit id to find out")
        } else {
            format!("commit {id} is not saved by this call")
        }
    }
}
