//! A read on a reader thread. It ends when its caller is gone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rusqlite::InterruptHandle;
use tokio::sync::oneshot::{self, Receiver};

use crate::failure::{Failure, stopped};
use crate::guard::Guarded;
use crate::limit::Permit;

/// A read that waits for a reader thread, or runs on it.
pub(crate) struct ReadJob {
    run: Box<dyn FnOnce(Result<&Guarded, Failure>) + Send>,
    phase: Arc<SharedPhase>,
    permit: Permit,
}

/// The caller's end of a read. Dropping it cancels the read.
pub(crate) struct PendingRead<T> {
    answer: Receiver<thread::Result<Result<T, Failure>>>,
    phase: Arc<SharedPhase>,
}

/// Cancels what runs on a reader's connection.
pub(crate) struct Cancel {
    /// True from the cancellation on. The connection checks it between the steps of each statement.
    pub(crate) is_cancelled: Arc<AtomicBool>,
    /// Stops the current step of a statement.
    pub(crate) interrupt: InterruptHandle,
}

#[derive(Default)]
struct SharedPhase(Mutex<Phase>);

#[derive(Default)]
enum Phase {
    #[default]
    Waiting,
    Running(Cancel),
    /// The read has ended, or its caller was gone before it began. Nothing can be cancelled any more.
    Ended,
}

impl ReadJob {
    /// A job that runs `read`, and the caller's end of it.
    pub(crate) fn new<T: Send + 'static>(
        permit: Permit,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> (Self, PendingRead<T>) {
        let (reply, answer) = oneshot::channel();
        let run = move |connection: Result<&Guarded, Failure>| {
            // A panic of the caller's codec or query resumes in the caller.
            let outcome = catch_unwind(AssertUnwindSafe(|| connection.and_then(read)));
            drop(reply.send(outcome));
        };
        let phase = Arc::<SharedPhase>::default();
        (Self { run: Box::new(run), phase: Arc::clone(&phase), permit }, PendingRead { answer, phase })
    }

    /// Runs the read with `connection`, unless its caller is gone. After the return, the caller can no longer cancel.
    pub(crate) fn run(self, connection: &Guarded, cancel: Cancel) {
        drop(self.permit);
        if self.phase.start(cancel) {
            (self.run)(Ok(connection));
            self.phase.end();
        }
    }

    /// Answers the caller with a failure.
    pub(crate) fn fail(self, failure: Failure) {
        drop(self.permit);
        (self.run)(Err(failure));
    }
}

impl<T> PendingRead<T> {
    /// Waits for the result.
    ///
    /// # Panics
    ///
    /// If the read panicked.
    pub(crate) async fn result(mut self) -> Result<T, Failure> {
        let answer = (&mut self.answer).await;
        // The thread may still be about to end the job.
        self.phase.end();
        match answer.map_err(|_| stopped())? {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<T> Drop for PendingRead<T> {
    fn drop(&mut self) {
        // The lock is held until the interrupt is delivered, so that it cannot hit a later job of the thread.
        let mut phase = self.phase.lock();
        match &*phase {
            Phase::Waiting => *phase = Phase::Ended,
            Phase::Running(cancel) => {
                cancel.is_cancelled.store(true, Ordering::Relaxed);
                cancel.interrupt.interrupt();
            }
            Phase::Ended => {}
        }
    }
}

impl SharedPhase {
    /// Begins the job. Returns false if its caller is gone.
    fn start(&self, cancel: Cancel) -> bool {
        let mut phase = self.lock();
        let waits = matches!(*phase, Phase::Waiting);
        if waits {
            *phase = Phase::Running(cancel);
        }
        waits
    }

    fn end(&self) {
        *self.lock() = Phase::Ended;
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
