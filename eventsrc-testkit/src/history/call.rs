//! Calls of a history, and their answers.

use std::fmt;
use std::ops::Range;

use eventsrc_core::{Commit, CommitId, Sequence};

/// One call on one stream, with the instants of its start and its answer on a logical clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<S> {
    /// The instant of the start.
    pub called: u64,
    /// The instant of the answer; `None` if the call was never answered.
    pub answered: Option<u64>,
    /// The call and its answer.
    pub action: Action<S>,
}

/// A call and its answer. Failed reads show nothing and are no part of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<S> {
    /// A put.
    Put {
        /// The commit.
        commit_id: CommitId,
        /// The sequence of the put.
        first: S,
        /// The number of events in the commit.
        length: u32,
        /// The answer.
        answer: PutAnswer<S>,
    },
    /// A call of `latest`.
    Latest {
        /// The answer.
        sequence: Option<S>,
    },
    /// A read of events.
    Events {
        /// The sequence at which the read was to begin.
        from: Option<S>,
        /// The events that were read.
        parts: Vec<Part<S>>,
        /// True if the read reached the end.
        ended: bool,
    },
}

/// Answer to a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAnswer<S> {
    /// This put stored the commit.
    Stored,
    /// The commit was stored before.
    Repeated {
        /// The last stored sequence of the commit.
        last: S,
    },
    /// Another commit holds the sequence.
    Conflict {
        /// The other commit, if the conflict carries it.
        existing: Option<CommitId>,
        /// The head of the stream, if the conflict carries it.
        head: Option<S>,
    },
    /// An error, or no answer.
    Unknown,
}

/// Consecutive events of one commit, as a reader saw them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part<S> {
    /// The commit.
    pub commit_id: CommitId,
    /// The sequence of its first event.
    pub first: S,
    /// The number of its events.
    pub length: u32,
    /// The indices of the events that were read.
    pub places: Range<u32>,
}

impl<S: Sequence> Part<S> {
    pub(super) fn of<K, E>(commit: &Commit<K, S, E>, places: Range<usize>) -> Self {
        Self {
            commit_id: commit.metadata.commit_id,
            first: commit.first,
            length: commit.len() as u32,
            places: places.start as u32..places.end as u32,
        }
    }

    /// Returns true if both parts are of one commit with the same first sequence and the same number of events.
    pub(super) fn same_commit(&self, other: &Self) -> bool {
        (self.commit_id, self.first, self.length) == (other.commit_id, other.first, other.length)
    }

    /// Returns the number of the first event of the part.
    pub(super) fn begin(&self) -> u64 {
        self.first.number() + u64::from(self.places.start)
    }

    /// Returns the number after the last event of the part.
    pub(super) fn end(&self) -> u64 {
        self.first.number() + u64::from(self.places.end)
    }
}

/// Appends `part` to the events of a reader. Two pages of one commit become one part.
pub(super) fn push_part<S: Sequence>(parts: &mut Vec<Part<S>>, part: Part<S>) {
    match parts.last_mut() {
        Some(last) if last.same_commit(&part) && last.places.end == part.places.start => {
            last.places.end = part.places.end;
        }
        _ => parts.push(part),
    }
}

impl<S: Sequence> fmt::Display for Part<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} ({} at {})", self.commit_id, events(self.length), self.first)?;
        if self.places != (0..self.length) {
            write!(f, ", of it {} to {}", self.places.start + 1, self.places.end)?;
        }
        Ok(())
    }
}

impl<S: Sequence> fmt::Display for Call<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |sequence: &Option<S>| sequence.map_or_else(|| "none".into(), |s| s.to_string());
        match &self.action {
            Action::Put { commit_id, first, length, answer } => {
                write!(f, "put of commit {commit_id} ({} at {first}): ", events(*length))?;
                match answer {
                    PutAnswer::Stored => f.write_str("stored")?,
                    PutAnswer::Repeated { last } => write!(f, "repeated, its last is {last}")?,
                    PutAnswer::Unknown => f.write_str("no answer")?,
                    PutAnswer::Conflict { existing, head } => {
                        f.write_str("conflict")?;
                        if let Some(existing) = existing {
                            write!(f, " with commit {existing}")?;
                        }
                        if let Some(head) = head {
                            write!(f, ", head {head}")?;
                        }
                    }
                }
            }
            Action::Latest { sequence } => write!(f, "latest: {}", text(sequence))?,
            Action::Events { from, parts, ended } => {
                write!(f, "events from {}: ", text(from))?;
                match parts.as_slice() {
                    [] => f.write_str("nothing")?,
                    [one] => write!(f, "{one}")?,
                    [first, .., last] => write!(f, "{first} to {last}")?,
                }
                if !ended {
                    f.write_str(", not read to the end")?;
                }
            }
        }
        match self.answered {
            Some(answered) => write!(f, " [{}, {answered}]", self.called),
            None => write!(f, " [{}, never]", self.called),
        }
    }
}

fn events(count: u32) -> String {
    if count == 1 { "1 event".into() } else { format!("{count} events") }
}
