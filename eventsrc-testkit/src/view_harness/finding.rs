//! Defects of a view that the harness finds.

use std::fmt::{self, Debug};
use std::time::Duration;

use eventsrc_core::{StorageError, StreamName};
use similar::{ChangeTag, TextDiff};

use super::schedule::Schedule;

/// A defect of a view, and the disturbance under which it showed.
#[non_exhaustive]
pub enum Finding {
    /// The view cannot apply a commit that is in order.
    Refused {
        /// The stream.
        stream: StreamName,
        /// The first sequence of the commit.
        sequence: String,
        /// The answer of the view store.
        answer: String,
    },
    /// Two new views to which the same events were applied in the same order have different rows: the view reads a
    /// clock, uses randomness, or keeps state outside of its rows.
    NotAFunction {
        /// The difference between the rows.
        diff: String,
    },
    /// The rows differ from those of the plain fold.
    Rows {
        /// The disturbances of the view.
        schedule: Schedule,
        /// The difference between the rows.
        diff: String,
    },
    /// A stream went into quarantine although its commits can be applied.
    Quarantined {
        /// The disturbances of the view.
        schedule: Schedule,
        /// The stream.
        stream: StreamName,
        /// The recorded error.
        error: String,
    },
    /// The final position of a stream is not that of its last event, so that events are missing.
    Behind {
        /// The disturbances of the view.
        schedule: Schedule,
        /// The stream.
        stream: StreamName,
        /// The position in the view, and the last sequence of the stream.
        positions: (Option<String>, String),
    },
    /// A run did not end within the time limit.
    Stuck {
        /// The disturbances of the view.
        schedule: Schedule,
        /// The time limit.
        limit: Duration,
    },
    /// The view store failed, and the harness injected no fault.
    Failed {
        /// The action that failed.
        doing: &'static str,
        /// The error.
        source: StorageError,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { stream, sequence, answer } => {
                write!(
                    f,
                    "the view cannot apply the commit at {sequence} of {stream}, although it is in order: {answer}"
                )
            }
            Self::NotAFunction { diff } => write!(
                f,
                "the same events in the same order gave different rows: the view reads a clock, uses randomness, or keeps \
                 state outside of its rows\n{diff}"
            ),
            Self::Rows { schedule, diff } => {
                write!(
                    f,
                    "the rows differ from those of the plain fold: {}\n{schedule}\n{diff}",
                    schedule.disturbance.hint()
                )
            }
            Self::Quarantined { schedule, stream, error } => {
                write!(
                    f,
                    "{stream} went into quarantine, although its commits can be applied: {error}\n{schedule}"
                )
            }
            Self::Behind { schedule, stream, positions: (found, expected) } => {
                let found = found.as_deref().unwrap_or("missing");
                write!(
                    f,
                    "the position of {stream} in the view is {found}, but the stream ends at {expected}\n{schedule}"
                )
            }
            Self::Stuck { schedule, limit } => write!(f, "the run did not end within {limit:?}\n{schedule}"),
            Self::Failed { doing, source } => write!(f, "the view store failed in {doing}: {source:?}"),
        }
    }
}

/// Prints the same text as `Display`, so that `unwrap` shows all of it.
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

/// Returns the difference between rows: missing lines with a minus, additional lines with a plus.
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
