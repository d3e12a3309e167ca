//! Outcome of a put, derived from the answer of the database.

use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;

use crate::layout::{HeadRow, InsertResult};

/// Outcome of putting a commit. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum AppendOutcome {
    /// The commit is stored.
    Stored,
    /// The same commit was stored before.
    Repeated { existing: Arc<EncodedCommit<'static>>, head: HeadRow },
    /// Another commit holds the sequence. The stream ends at `head`.
    Conflict { existing: Option<Arc<EncodedCommit<'static>>>, head: HeadRow },
    /// The commit does not follow the end of the stream, `head`: it would leave a hole, or its previous commit is another
    /// one.
    Diverged { head: Option<HeadRow> },
}

/// End of a stream, and one of its commits, as the answer to a put shows them.
#[derive(Debug, Clone)]
pub(crate) struct StreamEnd {
    pub(crate) head: HeadRow,
    /// Commit that holds the sequence of the put.
    pub(crate) commit: Arc<EncodedCommit<'static>>,
}

impl AppendOutcome {
    /// Outcome of putting `commit`; `None` if `result` does not determine it.
    pub(crate) fn of(commit: &EncodedCommit<'static>, result: InsertResult) -> Option<Self> {
        let (head, existing) = match result {
            InsertResult::Inserted => return Some(Self::Stored),
            InsertResult::NotInserted { head, existing } => (head, existing),
        };
        if let Some(head) = head.filter(|head| commit.number as i64 <= head.number) {
            return Some(Self::behind(commit, head, existing));
        }
        // A commit that follows the head, and yet was not inserted, lost a race.
        (!follows(commit, head)).then_some(Self::Diverged { head })
    }

    /// Outcome of putting `commit`, whose number is not after `head`, on a stream with the commit `candidate`.
    pub(crate) fn behind(
        commit: &EncodedCommit<'static>,
        head: HeadRow,
        candidate: Option<Arc<EncodedCommit<'static>>>,
    ) -> Self {
        let holds = |found: &Arc<EncodedCommit<'_>>| (found.number..=found.last()).contains(&commit.number);
        match candidate.filter(holds) {
            Some(existing) if existing.is(commit) => Self::Repeated { existing, head },
            existing => Self::Conflict { existing, head },
        }
    }

    /// End of the stream after this outcome of putting `commit`; `None` if the outcome does not show the commit that holds
    /// the sequence.
    pub(crate) fn stream_end(&self, commit: &Arc<EncodedCommit<'static>>) -> Option<StreamEnd> {
        let (head, commit) = match self {
            Self::Stored => (commit.head().into(), commit),
            Self::Repeated { existing, head } | Self::Conflict { existing: Some(existing), head } => {
                (*head, existing)
            }
            Self::Conflict { existing: None, .. } | Self::Diverged { .. } => return None,
        };
        Some(StreamEnd { head, commit: Arc::clone(commit) })
    }
}

/// True if `commit` directly follows `head`.
fn follows(commit: &EncodedCommit<'static>, head: Option<HeadRow>) -> bool {
    let is_next = commit.number as i64 - 1 == head.map_or(0, |head| head.number);
    is_next && commit.previous.is_none_or(|previous| head.is_some_and(|head| head.commit_id == previous))
}
