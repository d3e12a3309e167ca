//! Histories of racing callers, recorded and then checked exactly.
//!
//! [`Recorded`] wraps a storage and notes every call with the instants at which it was made and answered. When the
//! callers are done, [`Recorded::check`] reads each stream once more and says whether the history is *linearizable*:
//! whether every call could have happened at one point between its call and its answer, one after the other, on a
//! storage that does one thing at a time (Herlihy & Wing, "Linearizability: A Correctness Condition for Concurrent
//! Objects", TOPLAS 1990). [`hammer`] makes the callers.
//!
//! # Why no search is needed
//!
//! To decide this for any object takes exponential time. An append-only stream whose commits have unique ids hands over
//! its own order, though: this is the version order that Elle recovers from lists (Kingsbury & Alvaro, "Elle: Inferring
//! Isolation Anomalies from Experimental Observations", VLDB 2020). All that is open is *when* each commit was stored.
//!
//! Give commit `v`, the v-th that the last read shows, a point `p(v)`; points do not decrease along the stream. Then
//!
//! - a put of `v` that was answered `Stored`: `p(v)` is between its call and its answer, and there is no other such put.
//! - puts of `v` that were answered `Repeated`, or not answered: `p(v)` is not after the answer of any of the former, and,
//!   where no put was answered `Stored`, not before the first of all these was made. (One call may try more than once
//!   and meet itself, so `Repeated` does not say which call it was.) Some such put was under way at every point in between.
//! - a conflict with `v`: `p(v)` is not after its answer, for what is stored stays stored.
//! - a read that ended after `v`: it needs a point of its own between `p(v)` and `p(v + 1)`. There is one iff `p(v)` is not
//!   after its answer and `p(v + 1)` not before its call, since `p(v) <= p(v + 1)` and a call is not after its answer: of
//!   intervals on a line that meet in pairs, all meet. `latest` is a read, and so is the head that a conflict carries.
//!
//! So each commit has one earliest and one latest instant. As points do not decrease, `p(v)` can be the greatest of the
//! earliest instants up to `v`, and that satisfies all of the above iff no commit's earliest instant is past a latest
//! instant of its own or of a later commit. The history is linearizable iff this holds and the calls are consistent with the
//! last read: no duplicate, no hole, no half commit, no acknowledged commit missing, no conflict with nothing. It takes
//! one binary search a call and one pass over the commits, O(n log n), and is exact in both directions.
//!
//! A put without an answer settles itself: the last read shows it (then its answer is infinitely late) or not (then
//! it never was). Streams are independent, and linearizability is local, so each is checked by itself.

mod check;
mod hammer;
mod recorded;
mod violation;

use std::fmt;
use std::ops::Range;

pub use check::{Checked, check};
pub use hammer::{Load, hammer};
pub use recorded::Recorded;
pub use violation::{Violation, ViolationKind};

use eventsrc_core::{Commit, CommitId, Sequence};

/// One call on one stream, and when it was made and answered, in instants of a logical clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<S> {
    /// When it was made.
    pub called: u64,
    /// When it was answered; `None` if it never was.
    pub answered: Option<u64>,
    /// What it asked and what the answer was.
    pub action: Action<S>,
}

/// What a call asked, and what the answer was. Reads that failed say nothing and are no part of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<S> {
    /// A put.
    Put {
        /// The commit.
        commit_id: CommitId,
        /// Where it was put.
        first: S,
        /// How many events it has.
        length: u32,
        /// What it came to.
        answer: PutAnswer<S>,
    },
    /// The latest sequence.
    Latest {
        /// The answer.
        sequence: Option<S>,
    },
    /// The events from a sequence on.
    Events {
        /// Where the read was to begin.
        from: Option<S>,
        /// What it saw.
        parts: Vec<Part<S>>,
        /// Whether it was read to its end.
        ended: bool,
    },
}

/// What a put came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAnswer<S> {
    /// Stored by this put.
    Stored,
    /// Stored before.
    Repeated {
        /// The last sequence of what is stored.
        last: S,
    },
    /// Another commit is in the way.
    Conflict {
        /// That commit, if it was told.
        existing: Option<CommitId>,
        /// The head of the stream, if it was told.
        head: Option<S>,
    },
    /// An error, or no answer at all.
    Unknown,
}

/// Consecutive events of one commit, as a reader saw them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part<S> {
    /// The commit.
    pub commit_id: CommitId,
    /// The sequence of its first event.
    pub first: S,
    /// How many events it has.
    pub length: u32,
    /// Which of them were seen.
    pub places: Range<u32>,
}

impl<S: Sequence> Part<S> {
    fn of<K, E>(commit: &Commit<K, S, E>, places: Range<usize>) -> Self {
        Self {
            commit_id: commit.metadata.commit_id,
            first: commit.first,
            length: commit.len() as u32,
            places: places.start as u32..places.end as u32,
        }
    }

    /// Whether both are of the same commit at the same place, with the same number of events.
    fn same_commit(&self, other: &Self) -> bool {
        (self.commit_id, self.first, self.length) == (other.commit_id, other.first, other.length)
    }

    /// The number of the first event seen.
    fn begin(&self) -> u64 {
        self.first.number() + u64::from(self.places.start)
    }

    /// The number after the last event seen.
    fn end(&self) -> u64 {
        self.first.number() + u64::from(self.places.end)
    }
}

/// Appends `part` to what a reader saw; a commit that came in two pages is joined again.
fn push_part<S: Sequence>(parts: &mut Vec<Part<S>>, part: Part<S>) {
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
        let or_none = |sequence: &Option<S>| sequence.map_or_else(|| "none".into(), |s| s.to_string());
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
            Action::Latest { sequence } => write!(f, "latest: {}", or_none(sequence))?,
            Action::Events { from, parts, ended } => {
                write!(f, "events from {}: ", or_none(from))?;
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
