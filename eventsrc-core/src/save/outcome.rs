//! Outcomes and errors of saves.

use vec1::Vec1;

use super::operation::PreconditionFailed;
use crate::commit::CommitId;
use crate::storage::StorageError;
use crate::token::Token;

/// Outcome of a save, with the number of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the operation may have been rejected"]
pub enum Outcome<R = PreconditionFailed, S = u64> {
    /// The events are stored.
    Saved(Saved<S>),
    /// The operation rejected, given what this call read. Nothing is stored.
    Rejected {
        /// Reasons of the operation.
        reasons: Vec1<R>,
        /// Number of conflicts with other writers before the rejection.
        retries: u32,
    },
    /// Every attempt conflicted with another writer. Nothing is stored.
    Contended {
        /// Number of attempts.
        attempts: u32,
    },
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
            Self::Rejected { .. } | Self::Contended { .. } => None,
        }
    }

    /// Returns the number of retries after conflicts with other writers.
    pub fn retries(&self) -> u32 {
        match self {
            Self::Saved(saved) => saved.retries,
            Self::Rejected { retries, .. } => *retries,
            Self::Contended { attempts } => attempts - 1,
        }
    }
}

/// Failure of the storage during a save. The commit may or may not be stored.
///
/// Save again with the same commit id (and the same token, if there was one) to find out.
#[derive(Debug, thiserror::Error)]
#[error("commit {commit_id} may or may not be saved; save again with the same commit id to find out")]
pub struct SaveError {
    /// Id of the commit.
    pub commit_id: CommitId,
    /// Number of conflicts with other writers before the failure.
    pub retries: u32,
    /// Error of the storage.
    pub source: StorageError,
}
