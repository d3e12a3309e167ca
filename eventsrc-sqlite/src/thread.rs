//! Threads of open files.

use std::cell::Cell;
use std::thread::{self, JoinHandle};

use eventsrc_core::ErrorKind;

use crate::failure::Failure;

thread_local! {
    static IS_DATABASE_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// True on the writer thread or a reader thread of any database.
pub(crate) fn is_database_thread() -> bool {
    IS_DATABASE_THREAD.get()
}

/// Spawns a thread of an open file.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let work = || {
        IS_DATABASE_THREAD.set(true);
        work();
    };
    thread::Builder::new().name(name.into()).spawn(work).map_err(|error| {
        Failure::plain(ErrorKind::Unavailable, "cannot start a thread for the database").because(error.into())
    })
}
