//! How far a view is, and what is in its way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamName;
use crate::view::{QuarantinedCommit, ViewDefinition};

/// How far a view is, as seen by one synchronizer.
#[derive(Debug, Clone)]
pub struct SynchronizerStatus<S> {
    /// The view.
    pub view: ViewDefinition,
    /// Whether it is being kept.
    pub state: SynchronizerState,
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
    pub stalled: Vec<StalledStream<S>>,
    /// Streams in quarantine.
    pub quarantined: Vec<QuarantinedCommit<S>>,
    /// The last error of each worker that is backing off because the view's database fails; empty if none is.
    pub last_errors: Vec<Arc<StorageError>>,
}

/// Whether a view is being kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SynchronizerState {
    /// It is.
    Running,
    /// It was stopped by its owner.
    Stopped,
    /// It was stopped because this many streams of this many met went into quarantine: see [`CircuitBreaker`](crate::synchronizer::CircuitBreaker).
    Broken {
        /// Streams that went into quarantine.
        quarantined: usize,
        /// Streams that were met.
        met: usize,
    },
}

/// A stream that does not move, and why.
#[derive(Debug, Clone)]
pub struct StalledStream<S> {
    /// The stream.
    pub stream: StreamName,
    /// Where the view has it.
    pub position: Option<S>,
    /// The reason.
    pub reason: StallReason,
}

impl<S> SynchronizerStatus<S> {
    /// The first error that holds the view up: that of a worker, or else that of a stalled stream.
    pub fn last_error(&self) -> Option<Arc<StorageError>> {
        self.last_errors.first().cloned().or_else(|| self.stalled.first().map(StalledStream::error))
    }
}

impl<S> StalledStream<S> {
    /// The reason as an error that names the stream.
    fn error(&self) -> Arc<StorageError> {
        match &self.reason {
            StallReason::Unreadable(error) => Arc::clone(error),
            reason => {
                Arc::new(StorageError::new(ErrorKind::Unavailable, reason.to_string()).on(&self.stream))
            }
        }
    }
}

/// Reason for which a stream does not advance in a view.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StallReason {
    /// The event storage could not be read; it is read again with backoff.
    Unreadable(Arc<StorageError>),
    /// The event storage does not show a commit that is known to be stored; it is read again with backoff.
    NotShown,
}

impl fmt::Display for StallReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => f.write_str(&describe(&**error)),
            Self::NotShown => {
                f.write_str("the event storage does not show a commit that is known to be stored")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(last_errors: &[&str], stalled: &[&str]) -> SynchronizerStatus<u64> {
        let error = |what: &&str| Arc::new(StorageError::new(ErrorKind::Unavailable, *what));
        let stall = |stream: &&str| StalledStream {
            stream: stream.parse().unwrap(),
            position: None,
            reason: StallReason::NotShown,
        };
        SynchronizerStatus {
            view: ViewDefinition::new("users", ["user"]).unwrap(),
            state: SynchronizerState::Running,
            applied_events: 0,
            applied_batches: 0,
            repeated_commits: 0,
            lag_events: 0,
            lag: Duration::ZERO,
            stalled: stalled.iter().map(stall).collect(),
            quarantined: Vec::new(),
            last_errors: last_errors.iter().map(error).collect(),
        }
    }

    #[test]
    fn the_last_error_is_that_of_a_worker_or_else_of_a_stalled_stream() {
        let last_error = |status: SynchronizerStatus<u64>| status.last_error().map(|error| error.to_string());
        assert_eq!(last_error(status(&[], &[])), None);
        assert_eq!(last_error(status(&["no room", "no table"], &["user/1"])).unwrap(), "no room");
        let stalled = last_error(status(&[], &["user/1", "user/2"])).unwrap();
        assert!(stalled.ends_with("stream user/1"), "{stalled}");
    }
}
