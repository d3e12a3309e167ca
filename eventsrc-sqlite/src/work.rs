//! Functions that run on the writer thread.

use crate::failure::Failure;
use crate::guard::Guarded;
use crate::reply::Reply;

/// Result of a function, which also decides about the function's writes.
pub(crate) enum WorkOutcome<T> {
    /// The writes stay, if the transaction commits.
    Commit(T),
    /// The writes are rolled back.
    RollBack(T),
}

/// Work in a transaction that holds the file's write lock.
pub(crate) trait Work: Send {
    /// Runs the work, and returns true if its writes stay. It runs again in another transaction if this one does not
    /// commit.
    fn run(&mut self, connection: &Guarded) -> Result<bool, Failure>;

    /// True if the caller no longer waits.
    fn is_abandoned(&self) -> bool;

    /// Sends the result of the last run to the caller. Writes that stay are on the disk by then.
    fn succeed(self: Box<Self>);

    /// Sends the failure to the caller.
    fn fail(self: Box<Self>, failure: Failure);
}

/// Work of a function, with the caller that waits for its result.
pub(crate) struct Task<T, F> {
    function: F,
    /// Result of the last run.
    result: Option<T>,
    reply: Reply<T>,
}

impl<T, F> Task<T, F>
where
    T: Send + 'static,
    F: FnMut(&Guarded) -> Result<WorkOutcome<T>, Failure> + Send + 'static,
{
    /// The work of `function`, boxed.
    pub(crate) fn boxed(function: F, reply: Reply<T>) -> Box<dyn Work> {
        Box::new(Self { function, result: None, reply })
    }
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnMut(&Guarded) -> Result<WorkOutcome<T>, Failure> + Send,
{
    fn run(&mut self, connection: &Guarded) -> Result<bool, Failure> {
        let (result, stays) = match (self.function)(connection)? {
            WorkOutcome::Commit(result) => (result, true),
            WorkOutcome::RollBack(result) => (result, false),
        };
        self.result = Some(result);
        Ok(stays)
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn succeed(self: Box<Self>) {
        if let Some(result) = self.result {
            self.reply.send(Ok(result));
        }
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.reply.send(Err(failure));
    }
}
