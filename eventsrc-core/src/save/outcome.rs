//! What a save comes to.

use vec1::Vec1;

use super::operation::PreconditionFailed;
use crate::commit::CommitId;
use crate::storage::StorageError;
use crate::token::Token;

/// What a save came to. Each says how many retries it took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the operation may have been rejected"]
pub enum Outcome<R = PreconditionFailed, S = u64> {
    /// The events are stored.
    Saved(Saved<S>),
    /// The operation rejected, on what was read in this call; nothing is stored.
    Rejected {
        /// Why.
        reasons: Vec1<R>,
        /// How many tries met another writer before.
        retries: u32,
    },
    /// Every try met another writer; nothing is stored.
    Contended {
        /// How many tries there were.
        attempts: u32,
    },
}

/// Events that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved<S = u64> {
    /// The sequence of the last of them.
    pub sequence: S,
    /// The same as a token, trusted; join it to those of other answers.
    pub token: Token,
    /// The commit that they are in.
    pub commit_id: CommitId,
    /// How many tries met another writer before.
    pub retries: u32,
    /// Whether the commit was found stored: by an earlier save of the same command, or by this one, its reply lost.
    pub repeated: bool,
}

impl<R, S> Outcome<R, S> {
    /// What was saved; `None` if nothing was.
    pub fn saved(self) -> Option<Saved<S>> {
        match self {
            Self::Saved(saved) => Some(saved),
            Self::Rejected { .. } | Self::Contended { .. } => None,
        }
    }

    /// How many tries met another writer.
    pub fn retries(&self) -> u32 {
        match self {
            Self::Saved(saved) => saved.retries,
            Self::Rejected { retries, .. } => *retries,
            Self::Contended { attempts } => attempts - 1,
        }
    }
}

/// The storage failed during a save: the commit may or may not be stored.
///
/// Save again with the same commit id (and the same token, if there was one) to settle it.
#[derive(Debug, thiserror::Error)]
#[error("it is not known whether commit {commit_id} is saved")]
pub struct SaveError {
    /// The commit.
    pub commit_id: CommitId,
    /// How many tries met another writer before.
    pub retries: u32,
    /// What the storage says.
    pub source: StorageError,
}
