//! How far a view is, and what is in its way.

use std::time::Duration;

use crate::stream::StreamName;
use crate::view::{Poison, ViewDefinition};

/// How far a view is, as seen by one synchronizer.
#[derive(Debug, Clone)]
pub struct Status<S> {
    /// The view.
    pub view: ViewDefinition,
    /// Whether it is being kept.
    pub state: State,
    /// Events that this synchronizer applied.
    pub applied_events: u64,
    /// Transactions that this synchronizer applied.
    pub applied_batches: u64,
    /// Commits that came again after they were applied.
    pub repeated_commits: u64,
    /// Events that are known to be stored and not applied. What the feed lost counts once a sweep has found it.
    pub lag_events: u64,
    /// How long ago the oldest of those was made, as far as is known.
    pub lag: Duration,
    /// Streams that wait for something, with the reason: at most 100 a worker.
    pub waiting: Vec<Waiting<S>>,
    /// Streams in quarantine.
    pub quarantined: Vec<Poison<S>>,
    /// Why the database of the view, or the event storage, cannot be worked with at the moment.
    pub trouble: Vec<String>,
}

/// Whether a view is being kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is.
    Running,
    /// It was stopped by its owner.
    Stopped,
    /// It was stopped because this many streams of this many met went into quarantine: see [`Breaker`](crate::Breaker).
    Broken {
        /// Streams that went into quarantine.
        quarantined: usize,
        /// Streams that were met.
        met: usize,
    },
}

/// A stream that does not move, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<S> {
    /// The stream.
    pub stream: StreamName,
    /// Where the view has it.
    pub position: Option<S>,
    /// What it waits for.
    pub reason: String,
}
