//! Status of a synchronizer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::StreamName;
use crate::view::{QuarantinedCommit, ViewDefinition};

/// State, counters and lag of a view, as one synchronizer sees them.
#[derive(Debug, Clone)]
pub struct SynchronizerStatus<S> {
    /// Name and version of the view.
    pub view: ViewDefinition,
    /// State of the synchronizer.
    pub state: SynchronizerState,
    /// Number of events that this synchronizer has applied.
    pub applied_events: u64,
    /// Number of transactions that this synchronizer has applied.
    pub applied_batches: u64,
    /// Number of commits that arrived although they were already applied.
    pub repeated_commits: u64,
    /// Number of events that are known to be stored and not applied. Events that a feed lost count once a sweep has
    /// found them.
    pub lag_events: u64,
    /// Age of the oldest of these events, as far as it is known.
    pub lag: Duration,
    /// Streams that do not advance, with the reason: at most 100 of each worker.
    pub stalled: Vec<StalledStream<S>>,
    /// Streams in quarantine.
    pub quarantined: Vec<QuarantinedCommit<S>>,
    /// Last error of each worker that is backing off because the view's database fails; empty if there is none.
    pub last_errors: Vec<Arc<StorageError>>,
}

/// State of a synchronizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SynchronizerState {
    /// The synchronizer keeps the view up to date.
    Running,
    /// The owner has stopped the synchronizer.
    Stopped,
    /// The [`CircuitBreaker`](crate::synchronizer::CircuitBreaker) has stopped the synchronizer.
    Broken {
        /// Number of streams that recently went into quarantine.
        quarantined: usize,
        /// Number of streams that were recently processed, including the quarantined ones.
        met: usize,
    },
}

/// A stream that does not advance, with the reason.
#[derive(Debug, Clone)]
pub struct StalledStream<S> {
    /// Name of the stream.
    pub stream: StreamName,
    /// Position of the stream in the view.
    pub position: Option<S>,
    /// Reason for which the stream does not advance.
    pub reason: StallReason,
}

impl<S> SynchronizerStatus<S> {
    /// Returns the first error that delays the view: that of a worker, or otherwise that of a stalled stream.
    pub fn last_error(&self) -> Option<Arc<StorageError>> {
        self.last_errors.first().cloned().or_else(|| self.stalled.first().map(StalledStream::error))
    }
}

impl<S> StalledStream<S> {
    /// Returns the reason as an error that names the stream.
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
    fn the_last_error_is_of_a_worker_or_otherwise_of_a_stalled_stream() {
        let last_error = |status: SynchronizerStatus<u64>| status.last_error().map(|error| error.to_string());
        assert_eq!(last_error(status(&[], &[])), None);
        assert_eq!(last_error(status(&["no room", "no table"], &["user/1"])).unwrap(), "no room");
        let stalled = last_error(status(&[], &["user/1", "user/2"])).unwrap();
        assert!(stalled.ends_with("stream user/1"), "{stalled}");
    }
}
