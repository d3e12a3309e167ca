//! The end of an open file: the last handle waits until the threads have closed it.
//!
//! It does not wait for code of the application. That code may wait for a task that only the thread that drops the handle
//! can run, and then neither would end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Progress of closing, which the threads of a file share with its last handle.
#[derive(Default)]
pub(crate) struct Closing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// Number of threads that run code of the application.
    in_code: usize,
}

/// Marks the file as closed when it is dropped.
pub(crate) struct CloseOnDrop(Arc<Closing>);

/// Marks a thread as running code of the application until it is dropped.
pub(crate) struct InCode<'a>(&'a Closing);

impl Closing {
    /// Marks the file as closed when the guard is dropped. The writer thread holds it.
    pub(crate) fn close_on_drop(self: &Arc<Self>) -> CloseOnDrop {
        CloseOnDrop(Arc::clone(self))
    }

    /// Marks this thread as running code of the application.
    pub(crate) fn enter_code(&self) -> InCode<'_> {
        self.change(|state| state.in_code += 1);
        InCode(self)
    }

    /// Waits until the file is closed. Returns earlier if a thread runs code of the application; the threads close the file
    /// when that code returns.
    pub(crate) fn wait(&self) {
        let waits = |state: &mut State| !state.is_closed && state.in_code == 0;
        drop(self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.change(|state| state.is_closed = true);
    }
}

impl Drop for InCode<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.in_code -= 1);
    }
}
