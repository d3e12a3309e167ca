//! What putting a commit came to, told from what the database found in its way.

use crate::layout::{CommitRow, Found, HeadRow};

/// What putting a commit came to.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is stored.
    Stored,
    /// It was stored before.
    Repeated(CommitRow),
    /// Another commit is in the way, and the stream ends at `head`.
    Conflict { existing: Option<CommitRow>, head: HeadRow },
    /// There would be a hole after `head`.
    Hole { head: HeadRow },
}

/// What putting `commit` came to; `None` if what was found does not tell.
pub(crate) fn judge(commit: &CommitRow, found: Found) -> Option<Appended> {
    match found {
        Found::Stored => Some(Appended::Stored),
        Found::InTheWay { head, existing } if commit.number <= head.number => {
            let existing = existing.filter(|existing| commit.number <= existing.last());
            Some(match existing {
                Some(existing) if is_same(&existing, commit) => Appended::Repeated(existing),
                existing => Appended::Conflict { existing, head },
            })
        }
        Found::InTheWay { head, .. } if commit.number - 1 > head.number => Some(Appended::Hole { head }),
        // It would go right after the head, and yet it did not go in.
        Found::InTheWay { .. } => None,
    }
}

/// The same id at the same place: a put that meets itself.
fn is_same(a: &CommitRow, b: &CommitRow) -> bool {
    (a.number, a.zone, a.commit_id) == (b.number, b.zone, b.commit_id)
}
