//! A commit to put, and the caller that waits for its outcome.

use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;
use tokio::sync::oneshot;

use crate::append::AppendOutcome;
use crate::failure::Failure;
use crate::layout::StreamLocation;

/// A commit to put, and the channel to its caller.
pub(super) struct Job {
    pub(super) stream: Arc<StreamLocation>,
    pub(super) commit: Arc<EncodedCommit<'static>>,
    pub(super) reply: oneshot::Sender<Result<AppendOutcome, Failure>>,
}

impl Job {
    /// Tells the caller the outcome. It has no effect if the caller stopped waiting.
    pub(super) fn answer(self, outcome: Result<AppendOutcome, Failure>) {
        let _ = self.reply.send(outcome);
    }
}
