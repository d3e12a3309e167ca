//! Outcome of a put, derived from the answer of the database.

use crate::layout::{CommitRow, HeadRow, InsertResult};

/// Outcome of putting a commit.
#[derive(Debug)]
pub(crate) enum AppendOutcome {
    /// The commit is stored.
    Stored,
    /// The same commit was stored before.
    Repeated(CommitRow),
    /// Another commit holds the sequence. The stream ends at `head`.
    Conflict { existing: Option<CommitRow>, head: HeadRow },
    /// The commit would leave a hole after `head`.
    Hole { head: HeadRow },
}

impl AppendOutcome {
    /// Outcome of putting `commit`; `None` if `result` does not determine it.
    pub(crate) fn of(commit: &CommitRow, result: InsertResult) -> Option<Self> {
        match result {
            InsertResult::Inserted => Some(Self::Stored),
            InsertResult::NotInserted { head, existing } if commit.number <= head.number => {
                let existing = existing.filter(|existing| commit.number <= existing.last());
                Some(match existing {
                    Some(existing) if is_same(&existing, commit) => Self::Repeated(existing),
                    existing => Self::Conflict { existing, head },
                })
            }
            InsertResult::NotInserted { head, .. } if commit.number - 1 > head.number => {
                Some(Self::Hole { head })
            }
            // The commit follows the head, and yet it was not inserted.
            InsertResult::NotInserted { .. } => None,
        }
    }
}

/// True if both have the same commit id at the same sequence: the put was sent before.
fn is_same(a: &CommitRow, b: &CommitRow) -> bool {
    (a.number, a.zone, a.commit_id) == (b.number, b.zone, b.commit_id)
}
