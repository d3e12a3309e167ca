//! Limits of the calls that wait. Callers that are faster than the file get an error, and memory stays bounded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::ErrorKind;

use crate::failure::Failure;

/// Limit of the calls that wait at the same time, and of their bytes.
pub(crate) struct WaitLimit {
    /// The calls, in an error: "writes" or "reads".
    what: &'static str,
    calls: usize,
    bytes: usize,
    waiting: Mutex<Waiting>,
}

/// The calls that wait, and their bytes.
#[derive(Default)]
struct Waiting {
    calls: usize,
    bytes: usize,
}

/// Share of one call in a limit. Dropping it releases the share.
pub(crate) struct Permit {
    limit: Arc<WaitLimit>,
    bytes: usize,
}

impl WaitLimit {
    /// A limit of `calls` and `bytes`.
    pub(crate) fn new(what: &'static str, calls: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { what, calls, bytes, waiting: Mutex::default() })
    }

    /// Admits a call of this size. If no other call waits, a call of any size is admitted.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Overloaded` if the call would exceed a limit.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Permit, Failure> {
        let mut waiting = self.waiting();
        let sum = waiting.bytes.saturating_add(bytes);
        let exceeds = waiting.calls >= self.calls || (bytes > 0 && sum > self.bytes);
        if waiting.calls > 0 && exceeds {
            let Waiting { calls, bytes } = *waiting;
            let bytes = if bytes > 0 { format!(" with {bytes} bytes") } else { String::new() };
            let what = format!("too many {} wait: {calls}{bytes}; retry later", self.what);
            return Err(Failure::plain(ErrorKind::Overloaded, what));
        }
        *waiting = Waiting { calls: waiting.calls + 1, bytes: sum };
        Ok(Permit { limit: Arc::clone(self), bytes })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut waiting = self.limit.waiting();
        waiting.calls -= 1;
        waiting.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_beyond_the_limit_is_refused_until_another_one_ends() {
        let limit = WaitLimit::new("writes", 2, 10);
        let first = limit.admit(4).unwrap();
        assert!(limit.admit(7).is_err(), "11 bytes are too many");
        let second = limit.admit(6).unwrap();
        assert!(limit.admit(0).is_err(), "3 calls are too many");
        drop(first);
        assert!(limit.admit(5).is_err());
        drop(limit.admit(4).unwrap());
        drop(second);
        let large = limit.admit(1000).unwrap();
        assert!(limit.admit(1).is_err());
        drop((large, limit.admit(0).unwrap()));
        let waiting = limit.waiting();
        assert_eq!((waiting.calls, waiting.bytes), (0, 0));
    }
}
