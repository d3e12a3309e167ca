//! Pieces of work for the writing thread that it knows nothing else of.

use crate::failure::Failure;
use crate::guard::Guarded;
use crate::writer::Reply;

/// What a piece of work came to.
pub(crate) enum Worked<T> {
    /// This, which stays if the transaction commits.
    Kept(T),
    /// This, and what was written is to be undone.
    Undone(T),
}

/// Something to do in a transaction that holds the file's write lock.
pub(crate) trait Work: Send {
    /// Does it, and says whether it stays. It is done again in another transaction if this one does not commit.
    fn run(&mut self, connection: &Guarded) -> Result<bool, Failure>;

    /// Tells the caller what it came to the last time; what stays is on the disk.
    fn succeed(self: Box<Self>);

    /// Tells the caller why it was not done.
    fn fail(self: Box<Self>, failure: Failure);
}

/// Work that is done by a function, for a caller who waits.
pub(crate) struct Task<T, F> {
    function: F,
    outcome: Option<T>,
    reply: Reply<T>,
}

impl<T, F> Task<T, F>
where
    T: Send + 'static,
    F: FnMut(&Guarded) -> Result<Worked<T>, Failure> + Send + 'static,
{
    /// The work of `function`.
    pub(crate) fn boxed(function: F, reply: Reply<T>) -> Box<dyn Work> {
        Box::new(Self { function, outcome: None, reply })
    }
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnMut(&Guarded) -> Result<Worked<T>, Failure> + Send,
{
    fn run(&mut self, connection: &Guarded) -> Result<bool, Failure> {
        let (outcome, stays) = match (self.function)(connection)? {
            Worked::Kept(outcome) => (outcome, true),
            Worked::Undone(outcome) => (outcome, false),
        };
        self.outcome = Some(outcome);
        Ok(stays)
    }

    // Nobody may be waiting any more, which is no matter here.
    fn succeed(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            drop(self.reply.send(Ok(outcome)));
        }
    }

    fn fail(self: Box<Self>, failure: Failure) {
        drop(self.reply.send(Err(failure)));
    }
}
