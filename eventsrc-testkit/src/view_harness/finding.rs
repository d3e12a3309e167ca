//! What is wrong with a view.

use std::fmt::{self, Debug};
use std::time::Duration;

use eventsrc_core::{StorageError, StreamName};
use similar::{ChangeTag, TextDiff};

use super::schedule::Schedule;

/// What is wrong with a view, and how that was found.
#[non_exhaustive]
pub enum Finding {
    /// The view cannot apply a commit, though it comes in order.
    Refused {
        /// The stream.
        stream: StreamName,
        /// Where the commit begins.
        sequence: String,
        /// What the view store answered.
        answer: String,
    },
    /// Two new views to which the same events were applied in the same order have other rows: the view looks at a clock, draws
    /// lots, or remembers something from one view to the next.
    NotAFunction {
        /// How the rows differ.
        diff: String,
    },
    /// The rows are other than those of the plain fold.
    Rows {
        /// What was done around the view.
        schedule: Schedule,
        /// How the rows differ.
        diff: String,
    },
    /// A stream went into quarantine, though its commits can be applied.
    Quarantined {
        /// What was done around the view.
        schedule: Schedule,
        /// The stream.
        stream: StreamName,
        /// Why.
        error: String,
    },
    /// A position is not that of the stream's last event in the end, so that events are missing.
    Behind {
        /// What was done around the view.
        schedule: Schedule,
        /// The stream.
        stream: StreamName,
        /// Where the view has it, and where it ends.
        positions: (Option<String>, String),
    },
    /// A run did not end in time.
    Stuck {
        /// What was done around the view.
        schedule: Schedule,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The view store failed, and not by what was done around it.
    Failed {
        /// What was done.
        doing: &'static str,
        /// How it failed.
        source: StorageError,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { stream, sequence, answer } => {
                write!(
                    f,
                    "the view cannot apply the commit at {sequence} of {stream}, which comes in order: {answer}"
                )
            }
            Self::NotAFunction { diff } => write!(
                f,
                "the same events in the same order gave other rows: the view looks at a clock, draws lots, or remembers \
                 something from one view to the next\n{diff}"
            ),
            Self::Rows { schedule, diff } => {
                write!(
                    f,
                    "the rows are not those of the plain fold: {}\n{schedule}\n{diff}",
                    schedule.disturbance.hint()
                )
            }
            Self::Quarantined { schedule, stream, error } => {
                write!(
                    f,
                    "{stream} went into quarantine, though its commits can be applied: {error}\n{schedule}"
                )
            }
            Self::Behind { schedule, stream, positions: (found, expected) } => {
                let found = found.as_deref().unwrap_or("its beginning");
                write!(f, "the view has {stream} up to {found}, which ends at {expected}\n{schedule}")
            }
            Self::Stuck { schedule, limit } => write!(f, "the run did not end within {limit:?}\n{schedule}"),
            Self::Failed { doing, source } => write!(f, "the view store failed in {doing}: {source:?}"),
        }
    }
}

/// The same as its text, so that `unwrap` shows all of it.
impl Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Finding {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// How rows differ: lines that are missing with a minus, those that are too many with a plus.
pub(super) fn diff(expected: &impl Debug, found: &impl Debug) -> String {
    let (expected, found) = (format!("{expected:#?}\n"), format!("{found:#?}\n"));
    let mut text = String::from("(- the plain fold, + this run)\n");
    for group in TextDiff::from_lines(&expected, &found).grouped_ops(3).iter().take(10) {
        let diff = TextDiff::from_lines(&expected, &found);
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push(sign);
            text.push_str(change.value());
        }
    }
    text
}
