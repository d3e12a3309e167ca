//! The answer to a caller that waits for the writer thread.

use tokio::sync::oneshot::{self, Receiver, Sender};

use crate::failure::Failure;
use crate::limit::Permit;

/// Channel to the caller of a job.
pub(crate) struct Reply<T> {
    sender: Sender<Result<T, Failure>>,
    permit: Permit,
}

impl<T> Reply<T> {
    /// The channel of a caller that has this permit to wait.
    pub(crate) fn new(permit: Permit) -> (Self, Receiver<Result<T, Failure>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, permit }, receiver)
    }

    /// Sends the result. It has no effect if the caller no longer waits.
    pub(crate) fn send(self, result: Result<T, Failure>) {
        // A caller that has its result may call again.
        drop(self.permit);
        drop(self.sender.send(result));
    }

    /// True if the caller no longer waits.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}
